//! Touchline's rows: typed ids, tenant-scoped finders, and the durable job table. All SQL of Touchline lives here
//! and in `migrations`; the same code runs on SQLite and PostgreSQL.
//!
//! In reading order:
//!
//! * [`Database`] and [`Transaction`]: opaque handles. Nothing outside this crate can send them a query, so a row
//!   of a tenant is reached only through functions that take its [`TenantId`], or the [`jobs::Job`] a worker holds.
//! * [`tenants`], [`tenant_limits`], [`users`], [`tokens`], [`api_keys`]: who may come in, and how much of it.
//! * [`videos`], [`uploads`], [`clips`], [`reels`], [`links`]: what a tenant has; [`stored`]: how many bytes of it.
//! * [`exports`], [`jobs`], [`segments`]: what is rendered, by whom, and what is finished; [`usage`]: what that took;
//!   [`idempotency`]: what was asked for twice.
//! * [`detections`], [`config_versions`]: results and live settings; [`audit`]: who changed what.
//! * [`deployment`]: which deployment these rows are of, and which stored files they know.
//! * [`removals`]: files whose rows are gone, until they are gone too.
//! * [`webhooks`]: subscriptions to events, and the outbox of their deliveries.
//! * [`page`]: how lists are cut into pages.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let db = entities::connect(&format!("sqlite://{}/touchline.db", folder.path().display())).await?;
//! let club = entities::tenants::create(&db, "club").await?;
//! let page = entities::page::PageRequest::default();
//! assert!(entities::videos::list(&db, club.id, &page).await?.items.is_empty());
//! # Ok(()) }
//! ```
//!
//! An unscoped query does not compile outside:
//!
//! ```compile_fail
//! use sea_orm::{EntityTrait, ModelTrait};
//! async fn of_every_tenant(db: &entities::Database) {
//!     let rows = <entities::exports::Export as ModelTrait>::Entity::find().all(db).await;
//! }
//! ```

pub mod api_keys;
pub mod audit;
mod changed;
pub mod clips;
pub mod config_versions;
mod database;
pub mod deployment;
pub mod detections;
mod error;
pub mod exports;
pub mod idempotency;
mod ids;
pub mod jobs;
pub mod links;
pub mod page;
pub mod reels;
pub mod removals;
mod rows;
pub mod segments;
pub mod stored;
mod subject;
pub mod tenant_limits;
pub mod tenants;
pub mod tokens;
pub mod uploads;
pub mod usage;
pub mod users;
pub mod videos;
pub mod webhooks;

pub use changed::Changed;
pub use database::{Database, Step, Transaction, connect, schema, schema_down};
pub use error::{Error, Result};
pub use ids::{
    ApiKeyId, AuditId, ClipId, DeliveryId, DeploymentId, ExportId, JobId, LinkId, ReelId, TenantId, TokenFamily,
    TokenId, UserId, VideoId, WebhookId,
};
pub use subject::{Subject, SubjectKind};

use chrono::{DateTime, SubsecRound, Utc};

/// The time now, to the microsecond: what both databases can hold, so that a row reads back equal.
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}
