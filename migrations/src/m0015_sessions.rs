//! What ends the sessions of a user, what a refresh token was exchanged for, and from where a login came.

use sea_orm_migration::{prelude::*, schema::*};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Tokens that were issued before this step are read as those of epoch 0.
        let epoch = Table::alter().table("users").add_column(big_integer("session_epoch").default(0)).to_owned();
        manager.alter_table(epoch).await?;
        // SQLite adds one column a statement. Without a foreign key: a successor never goes before its token.
        for column in [uuid_null("successor"), text_null("network")] {
            manager.alter_table(Table::alter().table("refresh_tokens").add_column(column).to_owned()).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in
            [("refresh_tokens", "network"), ("refresh_tokens", "successor"), ("users", "session_epoch")]
        {
            manager.alter_table(Table::alter().table(table).drop_column(column).to_owned()).await?;
        }
        Ok(())
    }
}
