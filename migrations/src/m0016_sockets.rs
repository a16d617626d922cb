//! A tenant's own limits of open WebSockets.

use sea_orm_migration::{prelude::*, schema::*};

const LIMITS: [&str; 2] = ["sockets_per_user", "sockets_per_tenant"];

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // One statement each: SQLite adds one column at a time.
        for limit in LIMITS {
            let add = Table::alter().table("tenant_limits").add_column(big_integer_null(limit)).to_owned();
            manager.alter_table(add).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for limit in LIMITS {
            manager.alter_table(Table::alter().table("tenant_limits").drop_column(limit).to_owned()).await?;
        }
        Ok(())
    }
}
