//! API keys: credentials of programs, which act for a tenant without a user. Only the hash of a key is kept, so a copy
//! of the database opens nothing.

use chrono::{DateTime, SubsecRound, Utc};
use sea_orm::{ActiveValue::Set, Condition, entity::prelude::*};

use crate::{
    ApiKeyId, Database, Result, TenantId,
    error::Doing,
    now,
    page::{self, Page, PageRequest},
    rows::api_key::{ActiveModel, Column, Entity, Model},
};

pub use crate::rows::api_key::{Model as ApiKey, Scope};

/// A key to be.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// Whose key.
    pub tenant_id: TenantId,
    /// What its owner calls it.
    pub name: String,
    /// The first characters of its text.
    pub hint: String,
    /// SHA-256 of its text, in hexadecimal.
    pub sha256: String,
    /// What it may do.
    pub scope: Scope,
    /// When it ends by itself; `None`: never.
    pub expires_at: Option<DateTime<Utc>>,
}

impl ApiKey {
    /// Is it neither expired nor revoked?
    pub fn is_valid(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// Stores a key.
pub async fn create(db: &Database, new: NewApiKey) -> Result<ApiKey> {
    let key = Model {
        id: ApiKeyId::new(),
        tenant_id: new.tenant_id,
        name: new.name,
        hint: new.hint,
        sha256: new.sha256,
        scope: new.scope,
        expires_at: new.expires_at.map(|at| at.trunc_subsecs(6)),
        last_used_at: None,
        revoked_at: None,
        created_at: now(),
    };
    let row = ActiveModel::from(key.clone()).reset_all();
    let inserted = Entity::insert(row).exec_without_returning(db.writer()).await;
    inserted.referring("the tenant", "creating an API key")?;
    Ok(key)
}

/// One key of a tenant, unless it was revoked.
pub async fn get(db: &Database, tenant: TenantId, id: ApiKeyId) -> Result<Option<ApiKey>> {
    Entity::find_by_id(id).filter(of(tenant)).one(db.reader()).await.doing("reading an API key")
}

/// A page of a tenant's keys, without the revoked ones.
pub async fn list(db: &Database, tenant: TenantId, page: &PageRequest) -> Result<Page<ApiKey>> {
    let rows = Entity::find().filter(of(tenant));
    page::fetch(rows, Column::Id, |row| row.id.uuid(), page, db.reader(), "listing API keys").await
}

/// The key with that hash, of any tenant, expired and revoked ones included. For authentication: the text is the
/// credential, and the row says which tenant it gives access to.
pub async fn find(db: &Database, sha256: &str) -> Result<Option<ApiKey>> {
    Entity::find().filter(Column::Sha256.eq(sha256)).one(db.reader()).await.doing("finding an API key")
}

/// Remembers that a key is used now, unless that was written after `unless_since` already.
pub async fn mark_used(db: &Database, id: ApiKeyId, unless_since: DateTime<Utc>) -> Result<()> {
    let used = ActiveModel { last_used_at: Set(Some(now())), ..Default::default() };
    let old = Condition::any().add(Column::LastUsedAt.is_null()).add(Column::LastUsedAt.lt(unless_since));
    let updated = Entity::update_many().set(used).filter(Column::Id.eq(id)).filter(old).exec(db.writer()).await;
    updated.doing("marking an API key as used").map(drop)
}

/// Revokes a key; false when the tenant has no such key, or it was revoked before.
pub async fn revoke(db: &Database, tenant: TenantId, id: ApiKeyId) -> Result<bool> {
    let revoked = ActiveModel { revoked_at: Set(Some(now())), ..Default::default() };
    let updated = Entity::update_many().set(revoked).filter(Column::Id.eq(id)).filter(of(tenant)).exec(db.writer());
    Ok(updated.await.doing("revoking an API key")?.rows_affected > 0)
}

/// The keys of a tenant that were not revoked.
fn of(tenant: TenantId) -> Condition {
    Condition::all().add(Column::TenantId.eq(tenant)).add(Column::RevokedAt.is_null())
}
