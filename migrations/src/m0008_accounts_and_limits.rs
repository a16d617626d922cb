//! What tenants used, what their exports were estimated at, and the limits of single tenants.
//!
//! Accounts refer to exports without a foreign key: they stay when an export is deleted.

use sea_orm_migration::{prelude::*, schema::*};

use crate::columns::{belongs_to, drop_tables, enumeration, id, index, table};

const TABLES: &[&str] = &["tenant_limits", "usage", "usage_devices"];
const ESTIMATE: [&str; 3] = ["estimated_device_seconds", "estimated_seconds", "estimated_cost"];

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tenant_limits = table("tenant_limits")
            .col(uuid("tenant_id").primary_key())
            .col(big_integer_null("concurrent_exports"))
            .col(big_integer_null("queued_exports"))
            .col(big_integer_null("interactive_frames"))
            .col(big_integer_null("storage_bytes"))
            .col(big_integer_null("upload_bytes"))
            .foreign_key(&mut belongs_to("tenant_limits", "tenant_id", "tenants"))
            .to_owned();
        manager.create_table(tenant_limits).await?;
        let usage = table("usage")
            .col(id())
            .col(uuid("tenant_id"))
            .col(uuid_null("export_id"))
            .col(enumeration("work"))
            .col(integer("index"))
            .col(big_integer("frames"))
            .col(big_integer("frames_inferred"))
            .col(big_integer("bytes"))
            .col(double("device_seconds"))
            .col(double("cost"))
            .col(timestamp_with_time_zone("at"))
            .to_owned();
        manager.create_table(usage).await?;
        manager.create_index(index("usage", &["tenant_id", "at"])).await?;
        manager.create_index(index("usage", &["at"])).await?;
        let usage_devices = table("usage_devices")
            .col(uuid("usage_id"))
            .col(text("device"))
            .col(big_integer("frames"))
            .col(double("device_seconds"))
            .col(double("cost"))
            .primary_key(Index::create().col("usage_id").col("device"))
            .foreign_key(&mut belongs_to("usage_devices", "usage_id", "usage"))
            .to_owned();
        manager.create_table(usage_devices).await?;
        // SQLite adds one column a statement.
        for column in ESTIMATE {
            let add = Table::alter().table("exports").add_column(double_null(column)).to_owned();
            manager.alter_table(add).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in ESTIMATE {
            manager.alter_table(Table::alter().table("exports").drop_column(column).to_owned()).await?;
        }
        drop_tables(manager, TABLES).await
    }
}
