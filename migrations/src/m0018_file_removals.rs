//! Files that are to be removed, because the rows they belonged to are gone.

use sea_orm_migration::{prelude::*, schema::*};

use crate::columns::{created_at, drop_tables, enumeration, index, table};

const TABLE: &str = "file_removals";

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Refers to no tenant: files have to go also when their tenant has gone.
        let removals = table(TABLE)
            .col(enumeration("subject_kind"))
            .col(uuid("subject_id"))
            .col(uuid("tenant_id"))
            .col(integer("attempts"))
            .col(timestamp_with_time_zone("run_at"))
            .col(created_at())
            .primary_key(Index::create().col("subject_kind").col("subject_id"))
            .to_owned();
        manager.create_table(removals).await?;
        manager.create_index(index(TABLE, &["run_at"])).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, &[TABLE]).await
    }
}
