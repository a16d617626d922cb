//! Reels: clips in order with their edits, as people work on them.

use sea_orm::{ActiveValue::Set, QuerySelect, entity::prelude::*};

use crate::{
    Changed, Database, ReelId, Result, TenantId, UserId,
    error::Doing,
    now,
    page::{self, Page, PageRequest},
    rows::reel::{ActiveModel, Column, Entity, Model},
};

pub use crate::rows::reel::Model as Reel;

/// What people say of a reel.
#[derive(Debug, Clone, PartialEq)]
pub struct Edits {
    /// What it is called.
    pub name: String,
    /// A framing spec without its kind.
    pub framing: Option<Json>,
    /// An overlay spec without its kind.
    pub overlay: Option<Json>,
}

/// Makes a reel.
pub async fn create(db: &Database, tenant: TenantId, edits: Edits, by: Option<UserId>) -> Result<Reel> {
    let made = now();
    let reel = Model {
        id: ReelId::new(),
        tenant_id: tenant,
        version: 1,
        name: edits.name,
        framing: edits.framing,
        overlay: edits.overlay,
        created_at: made,
        updated_at: made,
        created_by: by,
    };
    let row = ActiveModel::from(reel.clone()).reset_all();
    Entity::insert(row).exec_without_returning(db.writer()).await.doing("making a reel")?;
    Ok(reel)
}

/// One reel of a tenant.
pub async fn get(db: &Database, tenant: TenantId, id: ReelId) -> Result<Option<Reel>> {
    Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db.reader()).await.doing("reading a reel")
}

/// A page of a tenant's reels.
pub async fn list(db: &Database, tenant: TenantId, page: &PageRequest) -> Result<Page<Reel>> {
    let rows = Entity::find().filter(Column::TenantId.eq(tenant));
    page::fetch(rows, Column::Id, |row| row.id.uuid(), page, db.reader(), "listing reels").await
}

/// Changes a reel, if it still has the version that the author saw.
pub async fn change(db: &Database, tenant: TenantId, id: ReelId, seen: i64, edits: Edits) -> Result<Changed<Reel>> {
    let tx = db.begin().await?;
    let found = Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).lock_exclusive().one(tx.raw()).await;
    let Some(reel) = found.doing("reading a reel")? else {
        return Ok(Changed::NotFound);
    };
    if reel.version != seen {
        return Ok(Changed::Stale(reel.version));
    }
    let row = ActiveModel {
        version: Set(reel.version + 1),
        name: Set(edits.name),
        framing: Set(edits.framing),
        overlay: Set(edits.overlay),
        updated_at: Set(now()),
        ..Default::default()
    };
    Entity::update_many().set(row).filter(Column::Id.eq(id)).exec(tx.raw()).await.doing("changing a reel")?;
    let changed = Entity::find_by_id(id).one(tx.raw()).await.doing("reading a reel")?;
    tx.commit().await?;
    Ok(changed.map_or(Changed::NotFound, Changed::Now))
}

/// Deletes a reel; false when there is none. What was exported from it stays.
pub async fn delete(db: &Database, tenant: TenantId, id: ReelId) -> Result<bool> {
    let deleted = Entity::delete_by_id(id).filter(Column::TenantId.eq(tenant)).exec(db.writer()).await;
    Ok(deleted.doing("deleting a reel")?.rows_affected > 0)
}
