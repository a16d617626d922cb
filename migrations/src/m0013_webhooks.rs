//! Webhooks, and the outbox of their deliveries.

use sea_orm_migration::{prelude::*, schema::*};

use crate::columns::{belongs_to, created_at, drop_tables, enumeration, id, index, table};

const TABLES: &[&str] = &["webhooks", "webhook_deliveries"];

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let webhooks = table("webhooks")
            .col(id())
            .col(uuid("tenant_id"))
            .col(big_integer("version"))
            .col(text("url"))
            .col(json("events"))
            .col(boolean("enabled"))
            .col(text("description"))
            .col(text("secret"))
            .col(text_null("previous_secret"))
            .col(timestamp_with_time_zone_null("previous_until"))
            .col(created_at())
            .foreign_key(&mut belongs_to("webhooks", "tenant_id", "tenants"))
            .to_owned();
        manager.create_table(webhooks).await?;
        manager.create_index(index("webhooks", &["tenant_id", "id"])).await?;
        let deliveries = table("webhook_deliveries")
            .col(id())
            .col(uuid("tenant_id"))
            .col(uuid("webhook_id"))
            .col(text("event"))
            .col(text("body"))
            .col(enumeration("state"))
            .col(integer("attempts"))
            .col(timestamp_with_time_zone("run_at"))
            .col(integer_null("status"))
            .col(text_null("error"))
            .col(created_at())
            .col(timestamp_with_time_zone_null("finished_at"))
            .foreign_key(&mut belongs_to("webhook_deliveries", "tenant_id", "tenants"))
            .foreign_key(&mut belongs_to("webhook_deliveries", "webhook_id", "webhooks"))
            .to_owned();
        manager.create_table(deliveries).await?;
        manager.create_index(index("webhook_deliveries", &["webhook_id", "id"])).await?;
        manager.create_index(index("webhook_deliveries", &["state", "run_at"])).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, TABLES).await
    }
}
