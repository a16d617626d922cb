//! The history of the live settings.

use sea_orm_migration::{prelude::*, schema::*};

use crate::columns::{created_at, drop_tables, table};

const TABLES: &[&str] = &["config_versions"];

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let config_versions = table("config_versions")
            .col(big_integer("version").primary_key())
            .col(json("body"))
            .col(uuid_null("author"))
            .col(created_at())
            .to_owned();
        manager.create_table(config_versions).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, TABLES).await
    }
}
