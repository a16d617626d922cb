//! A tenant's own rate of requests, and how often the detections of a subject have changed.

use sea_orm_migration::{prelude::*, schema::*};

use crate::columns::{belongs_to, drop_tables, enumeration, table};

const RATE: &str = "requests_per_second";

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let rate = Table::alter().table("tenant_limits").add_column(big_integer_null(RATE)).to_owned();
        manager.alter_table(rate).await?;
        let versions = table("detection_versions")
            .col(uuid("tenant_id"))
            .col(enumeration("subject_kind"))
            .col(uuid("subject_id"))
            .col(big_integer("version"))
            .primary_key(Index::create().col("subject_kind").col("subject_id"))
            .foreign_key(&mut belongs_to("detection_versions", "tenant_id", "tenants"))
            .to_owned();
        manager.create_table(versions).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &["detection_versions"]).await?;
        manager.alter_table(Table::alter().table("tenant_limits").drop_column(RATE).to_owned()).await
    }
}
