//! API keys: credentials of programs.

use sea_orm_migration::{prelude::*, schema::*};

use crate::columns::{belongs_to, created_at, drop_tables, enumeration, id, index, table};

const TABLES: &[&str] = &["api_keys"];

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let api_keys = table("api_keys")
            .col(id())
            .col(uuid("tenant_id"))
            .col(text("name"))
            .col(text("hint"))
            .col(text("sha256"))
            .col(enumeration("scope"))
            .col(timestamp_with_time_zone_null("expires_at"))
            .col(timestamp_with_time_zone_null("last_used_at"))
            .col(timestamp_with_time_zone_null("revoked_at"))
            .col(created_at())
            .foreign_key(&mut belongs_to("api_keys", "tenant_id", "tenants"))
            .to_owned();
        manager.create_table(api_keys).await?;
        manager.create_index(index("api_keys", &["sha256"]).unique().to_owned()).await?;
        manager.create_index(index("api_keys", &["tenant_id", "id"])).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, TABLES).await
    }
}
