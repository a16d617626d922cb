//! What the steps' tables are made of.

use sea_orm_migration::{
    prelude::*,
    schema::{string_len, timestamp_with_time_zone, uuid},
};

/// Length of an enumeration's name.
const ENUM: u32 = 16;

/// A table that is about to be created.
pub fn table(name: &'static str) -> TableCreateStatement {
    Table::create().table(name).to_owned()
}

/// A column for an enumeration.
pub fn enumeration(name: &'static str) -> ColumnDef {
    string_len(name, ENUM).take()
}

/// The moment a row was made.
pub fn created_at() -> ColumnDef {
    timestamp_with_time_zone("created_at").take()
}

/// The UUID primary key `id`.
pub fn id() -> ColumnDef {
    uuid("id").primary_key().take()
}

/// `table.column` refers to `target.id`, and goes when that goes.
pub fn belongs_to(table: &'static str, column: &'static str, target: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create().from(table, column).to(target, "id").on_delete(ForeignKeyAction::Cascade).to_owned()
}

/// An index named after its table and columns.
pub fn index(table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create();
    index.name(format!("{table}_{}", columns.join("_"))).table(table);
    for column in columns {
        index.col(*column);
    }
    index
}

/// Drops tables, last made first.
pub async fn drop_tables(manager: &SchemaManager<'_>, names: &[&'static str]) -> Result<(), DbErr> {
    for name in names.iter().rev() {
        manager.drop_table(Table::drop().table(*name).to_owned()).await?;
    }
    Ok(())
}
