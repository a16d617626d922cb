//! Tenants, their users, and the refresh tokens of these.

use sea_orm_migration::{prelude::*, schema::*};

use crate::columns::{belongs_to, created_at, drop_tables, enumeration, id, index, table};

const TABLES: &[&str] = &["tenants", "users", "refresh_tokens"];

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tenants = table("tenants")
            .col(id())
            .col(text("name"))
            .col(enumeration("state"))
            .col(double("weight"))
            .col(created_at())
            .to_owned();
        manager.create_table(tenants).await?;
        manager.create_index(index("tenants", &["name"]).unique().to_owned()).await?;
        let users = table("users")
            .col(id())
            .col(uuid("tenant_id"))
            .col(text("email"))
            .col(text("password_hash"))
            .col(enumeration("role"))
            .col(created_at())
            .foreign_key(&mut belongs_to("users", "tenant_id", "tenants"))
            .to_owned();
        manager.create_table(users).await?;
        manager.create_index(index("users", &["email"]).unique().to_owned()).await?;
        manager.create_index(index("users", &["tenant_id", "id"])).await?;
        let refresh_tokens = table("refresh_tokens")
            .col(id())
            .col(uuid("family"))
            .col(uuid("user_id"))
            .col(uuid("tenant_id"))
            .col(timestamp_with_time_zone("expires_at"))
            .col(timestamp_with_time_zone_null("used_at"))
            .col(timestamp_with_time_zone_null("revoked_at"))
            .foreign_key(&mut belongs_to("refresh_tokens", "user_id", "users"))
            .foreign_key(&mut belongs_to("refresh_tokens", "tenant_id", "tenants"))
            .to_owned();
        manager.create_table(refresh_tokens).await?;
        manager.create_index(index("refresh_tokens", &["user_id", "family"])).await?;
        manager.create_index(index("refresh_tokens", &["expires_at"])).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, TABLES).await
    }
}
