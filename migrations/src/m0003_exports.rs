//! Exports, the videos they read, and their finished segments.

use sea_orm_migration::{prelude::*, schema::*};

use crate::columns::{belongs_to, created_at, drop_tables, enumeration, id, index, table};

const TABLES: &[&str] = &["exports", "export_sources", "segments"];

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let exports = table("exports")
            .col(id())
            .col(uuid("tenant_id"))
            .col(enumeration("kind"))
            .col(enumeration("state"))
            .col(json("spec"))
            .col(json_null("profile"))
            .col(integer("attempt"))
            .col(double("progress"))
            .col(big_integer("frames_done"))
            .col(big_integer("frames_total"))
            .col(big_integer("frames_inferred"))
            .col(text("message"))
            .col(json("warnings"))
            .col(json_null("problem"))
            .col(double("device_seconds"))
            .col(double("cost"))
            .col(boolean("simulated"))
            .col(json_null("report"))
            .col(text_null("result_key"))
            .col(big_integer_null("result_bytes"))
            .col(text_null("result_etag"))
            .col(created_at())
            .col(timestamp_with_time_zone_null("started_at"))
            .col(timestamp_with_time_zone_null("finished_at"))
            .col(uuid_null("created_by"))
            .foreign_key(&mut belongs_to("exports", "tenant_id", "tenants"))
            .to_owned();
        manager.create_table(exports).await?;
        manager.create_index(index("exports", &["tenant_id", "id"])).await?;
        manager.create_index(index("exports", &["tenant_id", "state"])).await?;
        let export_sources = table("export_sources")
            .col(uuid("export_id"))
            .col(uuid("video_id"))
            .primary_key(Index::create().col("export_id").col("video_id"))
            .foreign_key(&mut belongs_to("export_sources", "export_id", "exports"))
            .foreign_key(&mut belongs_to("export_sources", "video_id", "videos"))
            .to_owned();
        manager.create_table(export_sources).await?;
        manager.create_index(index("export_sources", &["video_id"])).await?;
        let segments = table("segments")
            .col(uuid("export_id"))
            .col(enumeration("kind"))
            .col(integer("index"))
            .col(big_integer("first_frame"))
            .col(big_integer("frames"))
            .col(text("storage_key"))
            .col(big_integer("bytes"))
            .col(text("sha256"))
            .col(double("device_seconds"))
            .col(big_integer("frames_inferred"))
            .col(timestamp_with_time_zone("committed_at"))
            .primary_key(Index::create().col("export_id").col("kind").col("index"))
            .foreign_key(&mut belongs_to("segments", "export_id", "exports"))
            .to_owned();
        manager.create_table(segments).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, TABLES).await
    }
}
