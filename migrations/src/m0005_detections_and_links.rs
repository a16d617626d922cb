//! What belongs to a video or an export: detections and signed links.

use sea_orm_migration::{prelude::*, schema::*};

use crate::columns::{belongs_to, created_at, drop_tables, enumeration, id, index, table};

const TABLES: &[&str] = &["detections", "links"];

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let detections = table("detections")
            .col(uuid("tenant_id"))
            .col(enumeration("subject_kind"))
            .col(uuid("subject_id"))
            .col(text("model"))
            .col(big_integer("frame"))
            .col(double("time"))
            .col(integer("width"))
            .col(integer("height"))
            .col(json("boxes"))
            .primary_key(Index::create().col("subject_kind").col("subject_id").col("model").col("frame"))
            .foreign_key(&mut belongs_to("detections", "tenant_id", "tenants"))
            .to_owned();
        manager.create_table(detections).await?;
        let links = table("links")
            .col(id())
            .col(uuid("tenant_id"))
            .col(enumeration("subject_kind"))
            .col(uuid("subject_id"))
            .col(boolean("download"))
            .col(timestamp_with_time_zone("expires_at"))
            .col(timestamp_with_time_zone_null("revoked_at"))
            .col(created_at())
            .foreign_key(&mut belongs_to("links", "tenant_id", "tenants"))
            .to_owned();
        manager.create_table(links).await?;
        manager.create_index(index("links", &["subject_kind", "subject_id"])).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, TABLES).await
    }
}
