//! Marked clips: named time ranges of videos.

use sea_orm::{ActiveValue::Set, QuerySelect, entity::prelude::*};

use crate::{
    Changed, ClipId, Database, Result, TenantId, UserId, VideoId,
    error::Doing,
    now,
    page::{self, Page, PageRequest},
    rows::{
        clip::{ActiveModel, Column, Entity, Model},
        video,
    },
};

pub use crate::rows::clip::Model as Clip;

/// What people say of a clip.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// What it is called.
    pub name: String,
    /// Source seconds.
    pub start: f64,
    /// Source seconds, after `start`.
    pub end: f64,
    /// What is said about it.
    pub notes: String,
    /// 1 to 5.
    pub rating: Option<i32>,
    /// What it shows.
    pub tags: Vec<String>,
}

/// Marks a clip; `None` when the video is not the tenant's.
pub async fn create(
    db: &Database,
    tenant: TenantId,
    video: VideoId,
    mark: Mark,
    by: Option<UserId>,
) -> Result<Option<Clip>> {
    let tx = db.begin().await?;
    let owned = video::Entity::find_by_id(video).filter(video::Column::TenantId.eq(tenant)).one(tx.raw()).await;
    if owned.doing("reading a video")?.is_none() {
        return Ok(None);
    }
    let made = now();
    let clip = Model {
        id: ClipId::new(),
        tenant_id: tenant,
        video_id: video,
        version: 1,
        name: mark.name,
        start: mark.start,
        end: mark.end,
        notes: mark.notes,
        rating: mark.rating,
        tags: Json::from(mark.tags),
        created_at: made,
        updated_at: made,
        created_by: by,
    };
    let row = ActiveModel::from(clip.clone()).reset_all();
    let stored = Entity::insert(row).exec_without_returning(tx.raw()).await;
    stored.referring("the clip's video", "marking a clip")?;
    tx.commit().await?;
    Ok(Some(clip))
}

/// One clip of a tenant.
pub async fn get(db: &Database, tenant: TenantId, id: ClipId) -> Result<Option<Clip>> {
    Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db.reader()).await.doing("reading a clip")
}

/// A page of the clips of a tenant's video.
pub async fn list(db: &Database, tenant: TenantId, video: VideoId, page: &PageRequest) -> Result<Page<Clip>> {
    let rows = Entity::find().filter(Column::TenantId.eq(tenant)).filter(Column::VideoId.eq(video));
    page::fetch(rows, Column::Id, |row| row.id.uuid(), page, db.reader(), "listing clips").await
}

/// Changes a clip, if it still has the version that the author saw.
pub async fn change(db: &Database, tenant: TenantId, id: ClipId, seen: i64, mark: Mark) -> Result<Changed<Clip>> {
    let tx = db.begin().await?;
    let found = Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).lock_exclusive().one(tx.raw()).await;
    let Some(clip) = found.doing("reading a clip")? else {
        return Ok(Changed::NotFound);
    };
    if clip.version != seen {
        return Ok(Changed::Stale(clip.version));
    }
    let row = ActiveModel {
        version: Set(clip.version + 1),
        name: Set(mark.name),
        start: Set(mark.start),
        end: Set(mark.end),
        notes: Set(mark.notes),
        rating: Set(mark.rating),
        tags: Set(Json::from(mark.tags)),
        updated_at: Set(now()),
        ..Default::default()
    };
    Entity::update_many().set(row).filter(Column::Id.eq(id)).exec(tx.raw()).await.doing("changing a clip")?;
    let changed = Entity::find_by_id(id).one(tx.raw()).await.doing("reading a clip")?;
    tx.commit().await?;
    Ok(changed.map_or(Changed::NotFound, Changed::Now))
}

/// Deletes a clip; false when there is none. What was exported from it stays.
pub async fn delete(db: &Database, tenant: TenantId, id: ClipId) -> Result<bool> {
    let deleted = Entity::delete_by_id(id).filter(Column::TenantId.eq(tenant)).exec(db.writer()).await;
    Ok(deleted.doing("deleting a clip")?.rows_affected > 0)
}
