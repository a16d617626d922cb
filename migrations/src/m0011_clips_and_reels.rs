//! Marked clips, reels, and from which reel an export came.

use sea_orm_migration::{prelude::*, schema::*};

use crate::columns::{belongs_to, created_at, drop_tables, id, index, table};

const TABLES: &[&str] = &["clips", "reels"];

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let clips = table("clips")
            .col(id())
            .col(uuid("tenant_id"))
            .col(uuid("video_id"))
            .col(big_integer("version"))
            .col(text("name"))
            .col(double("start"))
            .col(double("end"))
            .col(text("notes"))
            .col(integer_null("rating"))
            .col(json("tags"))
            .col(created_at())
            .col(timestamp_with_time_zone("updated_at"))
            .col(uuid_null("created_by"))
            .foreign_key(&mut belongs_to("clips", "tenant_id", "tenants"))
            .foreign_key(&mut belongs_to("clips", "video_id", "videos"))
            .to_owned();
        manager.create_table(clips).await?;
        manager.create_index(index("clips", &["video_id", "id"])).await?;
        manager.create_index(index("clips", &["tenant_id", "id"])).await?;
        let reels = table("reels")
            .col(id())
            .col(uuid("tenant_id"))
            .col(big_integer("version"))
            .col(text("name"))
            .col(json_null("framing"))
            .col(json_null("overlay"))
            .col(created_at())
            .col(timestamp_with_time_zone("updated_at"))
            .col(uuid_null("created_by"))
            .foreign_key(&mut belongs_to("reels", "tenant_id", "tenants"))
            .to_owned();
        manager.create_table(reels).await?;
        manager.create_index(index("reels", &["tenant_id", "id"])).await?;
        // Without a foreign key: an export outlives its reel. SQLite adds one column a statement.
        let reel = Table::alter().table("exports").add_column(uuid_null("reel_id")).to_owned();
        manager.alter_table(reel).await?;
        let version = Table::alter().table("exports").add_column(big_integer_null("reel_version")).to_owned();
        manager.alter_table(version).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in ["reel_version", "reel_id"] {
            manager.alter_table(Table::alter().table("exports").drop_column(column).to_owned()).await?;
        }
        drop_tables(manager, TABLES).await
    }
}
