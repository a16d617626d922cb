//! Idempotency keys: a client that repeats a request, because the response was lost, gets the export that the first
//! request created instead of a second one. A key is its tenant's own, and lives for a day.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{entity::prelude::*, sea_query::OnConflict};

use crate::{
    Database, ExportId, Result, TenantId, Transaction,
    error::Doing,
    now,
    rows::idempotency_key::{ActiveModel, Column, Entity, Model},
};

/// How long a key is kept.
const LIFE: TimeDelta = TimeDelta::hours(24);

/// A key that came with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestKey {
    /// As the client sent it.
    pub key: String,
    /// Of the request's body, in lower-case hexadecimal.
    pub request_sha256: String,
}

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The tenant has not used it in the last day.
    New,
    /// The same request began this export.
    Same(ExportId),
    /// It came with another request.
    Other,
}

/// Finds what is stored under a tenant's key.
pub async fn find(db: &Database, tenant: TenantId, key: &RequestKey) -> Result<Known> {
    find_in(db.reader(), tenant, key).await
}

/// [`find`] inside a transaction; after [`crate::tenants::lock`] the result holds until the commit.
pub async fn find_locked(tx: &Transaction, tenant: TenantId, key: &RequestKey) -> Result<Known> {
    find_in(tx.raw(), tenant, key).await
}

async fn find_in(db: &impl ConnectionTrait, tenant: TenantId, key: &RequestKey) -> Result<Known> {
    let row = Entity::find_by_id((tenant, key.key.clone())).filter(Column::CreatedAt.gt(oldest())).one(db).await;
    Ok(match row.doing("finding an idempotency key")? {
        None => Known::New,
        Some(row) if row.request_sha256 == key.request_sha256 => Known::Same(row.export_id),
        Some(_) => Known::Other,
    })
}

/// Keeps a key that is [`Known::New`].
pub async fn keep(tx: &Transaction, tenant: TenantId, key: RequestKey, export: ExportId) -> Result<()> {
    let RequestKey { key, request_sha256 } = key;
    let row = Model { tenant_id: tenant, key, request_sha256, export_id: export, created_at: now() };
    // One that has expired and is not swept yet makes room.
    let replace = OnConflict::columns([Column::TenantId, Column::Key])
        .update_columns([Column::RequestSha256, Column::ExportId, Column::CreatedAt])
        .to_owned();
    Entity::insert(ActiveModel::from(row).reset_all())
        .on_conflict(replace)
        .exec_without_returning(tx.raw())
        .await
        .doing("keeping an idempotency key")?;
    Ok(())
}

/// Forgets keys of any tenant that are older than a day; how many.
pub async fn forget_expired(db: &Database) -> Result<u64> {
    let gone = Entity::delete_many().filter(Column::CreatedAt.lte(oldest())).exec(db.writer()).await;
    Ok(gone.doing("forgetting idempotency keys")?.rows_affected)
}

fn oldest() -> DateTime<Utc> {
    now() - LIFE
}
