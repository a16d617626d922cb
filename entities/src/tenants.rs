//! Tenants: the customers everything belongs to.

use sea_orm::{
    ActiveValue::{NotSet, Set},
    QueryOrder,
    entity::prelude::*,
};

use crate::{
    Database, Result, TenantId, Transaction,
    error::Doing,
    now,
    page::{self, Page, PageRequest},
    rows::tenant::{ActiveModel, Column, Entity, Model},
    tenant_limits::{self, TenantLimits},
};

pub use crate::rows::tenant::{Model as Tenant, TenantState};

/// Creates an active tenant of weight 1. A name in use is [`crate::Error::Taken`].
pub async fn create(db: &Database, name: &str) -> Result<Tenant> {
    insert(db.writer(), name).await
}

pub(crate) async fn insert(db: &impl ConnectionTrait, name: &str) -> Result<Tenant> {
    let tenant = Model {
        id: TenantId::new(),
        name: name.to_owned(),
        state: TenantState::Active,
        weight: 1.0,
        created_at: now(),
        upscale_model: None,
        detect_model: None,
    };
    let taken = || format!("the tenant name `{name}`");
    let row = ActiveModel::from(tenant.clone()).reset_all();
    Entity::insert(row).exec_without_returning(db).await.unique(taken, "creating a tenant")?;
    Ok(tenant)
}

/// One tenant.
pub async fn get(db: &Database, id: TenantId) -> Result<Option<Tenant>> {
    Entity::find_by_id(id).one(db.reader()).await.doing("reading a tenant")
}

/// The tenant of that name.
pub async fn find_by_name(db: &Database, name: &str) -> Result<Option<Tenant>> {
    named(db.reader(), name).await
}

pub(crate) async fn named(db: &impl ConnectionTrait, name: &str) -> Result<Option<Tenant>> {
    Entity::find().filter(Column::Name.eq(name)).one(db).await.doing("finding a tenant by name")
}

/// A page of all tenants of the deployment.
pub async fn list(db: &Database, page: &PageRequest) -> Result<Page<Tenant>> {
    page::fetch(Entity::find(), Column::Id, |row| row.id.uuid(), page, db.reader(), "listing tenants").await
}

/// Every tenant of the deployment, by name: for the command line.
pub async fn all(db: &Database) -> Result<Vec<Tenant>> {
    Entity::find().order_by_asc(Column::Name).all(db.reader()).await.doing("listing tenants")
}

/// Suspends a tenant or makes it active again; `None` when there is no such tenant.
pub async fn set_state(db: &Database, id: TenantId, state: TenantState) -> Result<Option<Tenant>> {
    let row = ActiveModel { state: Set(state), ..Default::default() };
    Entity::update_many()
        .set(row)
        .filter(Column::Id.eq(id))
        .exec(db.writer())
        .await
        .doing("changing a tenant's state")?;
    Entity::find_by_id(id).one(db.writer()).await.doing("reading a tenant")
}

/// What is changed of a tenant; None stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TenantChange {
    /// Its new name; one in use is [`crate::Error::Taken`].
    pub name: Option<String>,
    /// Whether it may do anything.
    pub state: Option<TenantState>,
    /// Its share of the devices, a number above 0.
    pub weight: Option<f64>,
    /// The upscaler behind `auto`; `Some(None)`: the deployment's.
    pub upscale_model: Option<Option<String>>,
    /// The detector; `Some(None)`: the deployment's.
    pub detect_model: Option<Option<String>>,
}

/// A tenant with its own limits.
pub type Limited = (Tenant, TenantLimits);

/// Changes a tenant and its own limits, as one: `limits` makes the new ones of those in force, while the tenant is
/// locked, so that of two changes at once none takes back the other's. Returns what was before and what is now; `None`
/// when there is no such tenant. What `limits` refuses with is returned, and nothing is changed.
pub async fn change<E>(
    db: &Database,
    id: TenantId,
    change: TenantChange,
    limits: impl FnOnce(&TenantLimits) -> std::result::Result<TenantLimits, E>,
) -> Result<Option<std::result::Result<(Limited, Limited), E>>> {
    let tx = db.begin().await?;
    let Some(before) = lock(&tx, id).await? else { return Ok(None) };
    let limits_before = tenant_limits::get_in(&tx, id).await?;
    let limits = match limits(&limits_before) {
        Ok(limits) => limits,
        Err(refusal) => return Ok(Some(Err(refusal))),
    };
    let name = change.name.clone().unwrap_or_default();
    let row = ActiveModel {
        name: change.name.map_or(NotSet, Set),
        state: change.state.map_or(NotSet, Set),
        weight: change.weight.map_or(NotSet, Set),
        upscale_model: change.upscale_model.map_or(NotSet, Set),
        detect_model: change.detect_model.map_or(NotSet, Set),
        ..Default::default()
    };
    if row.is_changed() {
        let changed = Entity::update_many().set(row).filter(Column::Id.eq(id)).exec(tx.raw()).await;
        changed.unique(|| format!("the tenant name `{name}`"), "changing a tenant")?;
    }
    tenant_limits::set_in(&tx, &limits).await?;
    let tenant = Entity::find_by_id(id).one(tx.raw()).await.doing("reading a tenant")?;
    tx.commit().await?;
    Ok(tenant.map(|tenant| Ok(((before, limits_before), (tenant, limits)))))
}

/// Sets a tenant's share of the devices, a number above 0; false when there is no such tenant.
pub async fn set_weight(db: &Database, id: TenantId, weight: f64) -> Result<bool> {
    let row = ActiveModel { weight: Set(weight), ..Default::default() };
    let updated = Entity::update_many().set(row).filter(Column::Id.eq(id)).exec(db.writer()).await;
    Ok(updated.doing("changing a tenant's weight")?.rows_affected > 0)
}

/// Locks a tenant's row until the transaction ends, so that what is counted against its limits stays counted. Taken
/// before the lock of any export.
pub async fn lock(tx: &Transaction, id: TenantId) -> Result<Option<Tenant>> {
    use sea_orm::{QuerySelect, sea_query::LockType};
    // Of PostgreSQL's locks the one that lets others refer to the row: a transaction that has locked an export and
    // writes a delivery of its tenant does not wait for this one, which may wait for that export.
    Entity::find_by_id(id).lock(LockType::NoKeyUpdate).one(tx.raw()).await.doing("locking a tenant")
}
