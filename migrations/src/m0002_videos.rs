//! Videos, their frame indexes, and unfinished uploads.

use sea_orm_migration::{prelude::*, schema::*};

use crate::columns::{belongs_to, created_at, drop_tables, enumeration, id, index, table};

const TABLES: &[&str] = &["videos", "frame_indexes", "uploads"];

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let videos = table("videos")
            .col(id())
            .col(uuid("tenant_id"))
            .col(text("name"))
            .col(enumeration("state"))
            .col(big_integer("bytes"))
            .col(text("storage_key"))
            .col(json_null("facts"))
            .col(integer_null("width"))
            .col(integer_null("height"))
            .col(double_null("duration"))
            .col(json_null("problem"))
            .col(created_at())
            .foreign_key(&mut belongs_to("videos", "tenant_id", "tenants"))
            .to_owned();
        manager.create_table(videos).await?;
        manager.create_index(index("videos", &["tenant_id", "id"])).await?;
        manager.create_index(index("videos", &["state"])).await?;
        let frame_indexes = table("frame_indexes")
            .col(uuid("video_id").primary_key())
            .col(blob("bytes"))
            .foreign_key(&mut belongs_to("frame_indexes", "video_id", "videos"))
            .to_owned();
        manager.create_table(frame_indexes).await?;
        let uploads = table("uploads")
            .col(id())
            .col(uuid("tenant_id"))
            .col(big_integer("length"))
            .col(big_integer("received"))
            .col(json("metadata"))
            .col(timestamp_with_time_zone("expires_at"))
            .col(created_at())
            .foreign_key(&mut belongs_to("uploads", "tenant_id", "tenants"))
            .to_owned();
        manager.create_table(uploads).await?;
        manager.create_index(index("uploads", &["expires_at"])).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, TABLES).await
    }
}
