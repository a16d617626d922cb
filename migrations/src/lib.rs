//! The schema of Touchline's database, one file a step, the same on SQLite and PostgreSQL.
//!
//! Steps are applied in the order of [`Migrator`], each once; the database keeps the list of those it has. A step is
//! never changed after a release: a new one follows it. `entities::connect` applies what is missing.
//!
//! Ids are UUIDs, times are UTC, JSON is kept as text, enumerations are short strings, and everything that belongs to a
//! tenant says so in `tenant_id`.

pub use sea_orm_migration::{Migration, MigrationStatus, MigratorTrait};
use sea_orm_migration::{MigrationTrait, async_trait};

mod columns;
mod m0001_tenants_and_users;
mod m0002_videos;
mod m0003_exports;
mod m0004_jobs;
mod m0005_detections_and_links;
mod m0006_config_versions;
mod m0007_idempotency_keys;
mod m0008_accounts_and_limits;
mod m0009_rates_and_versions;
mod m0010_api_keys;
mod m0011_clips_and_reels;
mod m0012_audit;
mod m0013_webhooks;
mod m0014_deployment_and_specs;
mod m0015_sessions;
mod m0016_sockets;
mod m0017_index_attempts;
mod m0018_file_removals;

/// All steps, in order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_tenants_and_users::Migration),
            Box::new(m0002_videos::Migration),
            Box::new(m0003_exports::Migration),
            Box::new(m0004_jobs::Migration),
            Box::new(m0005_detections_and_links::Migration),
            Box::new(m0006_config_versions::Migration),
            Box::new(m0007_idempotency_keys::Migration),
            Box::new(m0008_accounts_and_limits::Migration),
            Box::new(m0009_rates_and_versions::Migration),
            Box::new(m0010_api_keys::Migration),
            Box::new(m0011_clips_and_reels::Migration),
            Box::new(m0012_audit::Migration),
            Box::new(m0013_webhooks::Migration),
            Box::new(m0014_deployment_and_specs::Migration),
            Box::new(m0015_sessions::Migration),
            Box::new(m0016_sockets::Migration),
            Box::new(m0017_index_attempts::Migration),
            Box::new(m0018_file_removals::Migration),
        ]
    }
}
