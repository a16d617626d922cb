//! Durable jobs and the tenants' places in the fair queue.

use sea_orm_migration::{prelude::*, schema::*};

use crate::columns::{belongs_to, drop_tables, enumeration, id, index, table};

const TABLES: &[&str] = &["fair_shares", "jobs"];

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let fair_shares = table("fair_shares")
            .col(uuid("tenant_id").primary_key())
            .col(double("finish_tag"))
            .foreign_key(&mut belongs_to("fair_shares", "tenant_id", "tenants"))
            .to_owned();
        manager.create_table(fair_shares).await?;
        let jobs = table("jobs")
            .col(id())
            .col(uuid("export_id"))
            .col(uuid("tenant_id"))
            .col(enumeration("kind"))
            .col(integer("index"))
            .col(enumeration("state"))
            .col(double("tag"))
            .col(double("cost"))
            .col(integer("attempt"))
            .col(integer("failures"))
            .col(integer("crashes"))
            .col(timestamp_with_time_zone("run_at"))
            .col(text_null("owner"))
            .col(timestamp_with_time_zone_null("lease_until"))
            .col(text_null("error"))
            .foreign_key(&mut belongs_to("jobs", "export_id", "exports"))
            .foreign_key(&mut belongs_to("jobs", "tenant_id", "tenants"))
            .to_owned();
        manager.create_table(jobs).await?;
        manager.create_index(index("jobs", &["export_id", "kind", "index"]).unique().to_owned()).await?;
        manager.create_index(index("jobs", &["state", "kind", "tag", "id"])).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        drop_tables(manager, TABLES).await
    }
}
