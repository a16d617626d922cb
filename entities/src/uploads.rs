//! Unfinished uploads. The bytes are in a file; the row says how many of them count.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, entity::prelude::*};

use crate::{
    Database, Result, TenantId, VideoId,
    error::Doing,
    now,
    rows::upload::{ActiveModel, Column, Entity, Model},
    stored::{self, StorageFull},
};

pub use crate::rows::upload::Model as Upload;

/// An upload to be.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// Whose.
    pub tenant_id: TenantId,
    /// Bytes it will have.
    pub length: i64,
    /// What the client said about it, as an object.
    pub metadata: Json,
    /// When it may be swept.
    pub expires_at: DateTime<Utc>,
}

/// Begins an upload, whose id is the future video's, when all of it fits in the `room` bytes that its tenant may store.
pub async fn create(db: &Database, new: NewUpload, room: u64) -> Result<std::result::Result<Upload, StorageFull>> {
    let tx = db.begin().await?;
    if let Err(full) = stored::check_in(&tx, new.tenant_id, new.length.unsigned_abs(), room).await? {
        return Ok(Err(full));
    }
    let upload = Model {
        id: VideoId::new(),
        tenant_id: new.tenant_id,
        length: new.length,
        received: 0,
        metadata: new.metadata,
        expires_at: new.expires_at,
        created_at: now(),
    };
    let row = ActiveModel::from(upload.clone()).reset_all();
    Entity::insert(row).exec_without_returning(tx.raw()).await.doing("beginning an upload")?;
    tx.commit().await?;
    Ok(Ok(upload))
}

/// One upload of a tenant.
pub async fn get(db: &Database, tenant: TenantId, id: VideoId) -> Result<Option<Upload>> {
    let upload = Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db.reader()).await;
    upload.doing("reading an upload")
}

/// Moves the offset from `from` to `to` bytes; false when it is not at `from`, or there is no such upload.
pub async fn advance(
    db: &Database,
    tenant: TenantId,
    id: VideoId,
    from: i64,
    to: i64,
    expires_at: DateTime<Utc>,
) -> Result<bool> {
    let row = ActiveModel { received: Set(to), expires_at: Set(expires_at), ..Default::default() };
    let updated = Entity::update_many()
        .set(row)
        .filter(Column::Id.eq(id))
        .filter(Column::TenantId.eq(tenant))
        .filter(Column::Received.eq(from))
        .filter(Column::Length.gte(to))
        .exec(db.writer())
        .await;
    Ok(updated.doing("moving an upload's offset")?.rows_affected > 0)
}

/// Takes an upload away; false when there is none.
pub async fn delete(db: &Database, tenant: TenantId, id: VideoId) -> Result<bool> {
    let deleted =
        Entity::delete_many().filter(Column::Id.eq(id)).filter(Column::TenantId.eq(tenant)).exec(db.writer()).await;
    Ok(deleted.doing("deleting an upload")?.rows_affected > 0)
}

/// Uploads of any tenant that have expired: for the sweeper.
pub async fn expired(db: &Database) -> Result<Vec<Upload>> {
    Entity::find().filter(Column::ExpiresAt.lt(now())).all(db.reader()).await.doing("finding expired uploads")
}
