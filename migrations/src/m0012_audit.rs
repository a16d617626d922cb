//! Who administered what.

use sea_orm_migration::{prelude::*, schema::*};

use crate::columns::{drop_tables, id, index, table};

const TABLES: &[&str] = &["audit"];

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Without foreign keys: an entry stays when its target is deleted.
        let audit = table("audit")
            .col(id())
            .col(timestamp_with_time_zone("at"))
            .col(uuid_null("tenant_id"))
            .col(text("actor"))
            .col(text("action"))
            .col(text("target"))
            .col(json("details"))
            .to_owned();
        manager.create_table(audit).await?;
        manager.create_index(index("audit", &["tenant_id", "id"])).await?;
        // A version that came by a rollback says to which it went back.
        let from = Table::alter().table("config_versions").add_column(big_integer_null("rolled_back_to")).to_owned();
        manager.alter_table(from).await?;
        for column in ["upscale_model", "detect_model"] {
            manager.alter_table(Table::alter().table("tenants").add_column(text_null(column)).to_owned()).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in
            [("tenants", "detect_model"), ("tenants", "upscale_model"), ("config_versions", "rolled_back_to")]
        {
            manager.alter_table(Table::alter().table(table).drop_column(column).to_owned()).await?;
        }
        drop_tables(manager, TABLES).await
    }
}
