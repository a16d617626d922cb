//! How often the building of a video's frame index was begun, so that a file that ends the process is given up.

use sea_orm_migration::{prelude::*, schema::*};

const ATTEMPTS: &str = "index_attempts";

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let attempts = integer(ATTEMPTS).default(0).take();
        manager.alter_table(Table::alter().table("videos").add_column(attempts).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("videos").drop_column(ATTEMPTS).to_owned()).await
    }
}
