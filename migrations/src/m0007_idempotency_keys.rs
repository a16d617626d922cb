//! Keys under which a repeated request finds its first answer, and a code beside a job's last error.

use sea_orm_migration::{prelude::*, schema::*};

use crate::columns::{belongs_to, created_at, drop_tables, index, table};

const TABLES: &[&str] = &["idempotency_keys"];

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let keys = table("idempotency_keys")
            .col(uuid("tenant_id"))
            .col(text("key"))
            .col(string_len("request_sha256", 64))
            .col(uuid("export_id"))
            .col(created_at())
            .primary_key(Index::create().col("tenant_id").col("key"))
            .foreign_key(&mut belongs_to("idempotency_keys", "tenant_id", "tenants"))
            .foreign_key(&mut belongs_to("idempotency_keys", "export_id", "exports"))
            .to_owned();
        manager.create_table(keys).await?;
        manager.create_index(index("idempotency_keys", &["export_id"])).await?;
        let code = Table::alter().table("jobs").add_column(text_null("error_code")).to_owned();
        manager.alter_table(code).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("jobs").drop_column("error_code").to_owned()).await?;
        drop_tables(manager, TABLES).await
    }
}
