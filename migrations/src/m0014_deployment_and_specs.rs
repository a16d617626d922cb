//! The deployment's id, which its storage is marked with, and the specs of exports in a table of their own: an update
//! of an export's progress writes its row, and a row should not hold a megabyte that no update changes.

use sea_orm_migration::{prelude::*, schema::*};

use crate::columns::{belongs_to, created_at, drop_tables, id, table};

const TABLES: &[&str] = &["deployment", "export_specs"];

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Its only row is made by the first program that opens the database.
        manager.create_table(table("deployment").col(id()).col(created_at()).to_owned()).await?;
        let specs = table("export_specs")
            .col(uuid("export_id").primary_key())
            .col(uuid("tenant_id"))
            .col(json("spec"))
            .foreign_key(&mut belongs_to("export_specs", "export_id", "exports"))
            .to_owned();
        manager.create_table(specs).await?;
        let copy = "insert into export_specs (export_id, tenant_id, spec) select id, tenant_id, spec from exports";
        manager.get_connection().execute_unprepared(copy).await?;
        manager.alter_table(Table::alter().table("exports").drop_column("spec").to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Older programs write it always; SQLite cannot add a column that is never null to rows that are there.
        manager.alter_table(Table::alter().table("exports").add_column(json_null("spec")).to_owned()).await?;
        let copy = "update exports set spec = (select s.spec from export_specs s where s.export_id = exports.id)";
        manager.get_connection().execute_unprepared(copy).await?;
        drop_tables(manager, TABLES).await
    }
}
