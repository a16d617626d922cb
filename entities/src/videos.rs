//! Videos: source files, immutable once complete.

use sea_orm::{ActiveValue::Set, ExprTrait, QueryOrder, QuerySelect, entity::prelude::*, sea_query::Query};
use serde_json::json;

use crate::{
    Database, ExportId, Result, Subject, TenantId, Transaction, VideoId, detections,
    error::Doing,
    exports::{self, ExportState},
    jobs::Job,
    links, now,
    page::{self, Page, PageRequest},
    removals,
    rows::{
        export, export_source, frame_index, upload,
        video::{ActiveModel, Column, Entity, Model},
    },
    tenants,
    webhooks::{self, Event},
};

pub use crate::rows::video::{Model as Video, VideoState};

/// A video to be.
#[derive(Debug, Clone)]
pub struct NewVideo {
    /// Its id: the upload's.
    pub id: VideoId,
    /// Whose.
    pub tenant_id: TenantId,
    /// What people call it.
    pub name: String,
    /// Size of the file.
    pub bytes: i64,
    /// Where the file lies.
    pub storage_key: String,
    /// What probing found.
    pub facts: Option<Json>,
}

/// What processing found.
#[derive(Debug, Clone)]
pub struct Processed {
    /// What probing found.
    pub facts: Json,
    /// Displayed width in pixels.
    pub width: i32,
    /// Displayed height in pixels.
    pub height: i32,
    /// Seconds.
    pub duration: f64,
    /// The frame index.
    pub frame_index: Vec<u8>,
}

/// What came of deleting a video.
#[derive(Debug, Clone, PartialEq)]
pub enum Deleted {
    /// It is gone from the database, and its file can go.
    Gone {
        /// Exports that were cancelled, because the caller forced it.
        cancelled: Vec<ExportId>,
    },
    /// Nothing was deleted: these unfinished exports use it.
    InUse(Vec<ExportId>),
    /// There is no such video.
    NotFound,
}

/// Stores a video in state `processing`; in the same transaction the upload it came from ends.
pub async fn insert(db: &Database, new: NewVideo) -> Result<Video> {
    let video = Model {
        id: new.id,
        tenant_id: new.tenant_id,
        name: new.name,
        state: VideoState::Processing,
        bytes: new.bytes,
        storage_key: new.storage_key,
        facts: new.facts,
        width: None,
        height: None,
        duration: None,
        problem: None,
        index_attempts: 0,
        created_at: now(),
    };
    let tx = db.begin().await?;
    // So that what the tenant stores is not added up while the bytes move from the upload to the video.
    tenants::lock(&tx, video.tenant_id).await?;
    let row = ActiveModel::from(video.clone()).reset_all();
    let taken = || format!("the video id {}", video.id);
    Entity::insert(row).exec_without_returning(tx.raw()).await.unique(taken, "storing a video")?;
    upload::Entity::delete_by_id(video.id)
        .filter(upload::Column::TenantId.eq(video.tenant_id))
        .exec(tx.raw())
        .await
        .doing("ending an upload")?;
    tx.commit().await?;
    Ok(video)
}

/// One video of a tenant.
pub async fn get(db: &Database, tenant: TenantId, id: VideoId) -> Result<Option<Video>> {
    Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db.reader()).await.doing("reading a video")
}

/// Those of `ids` that are the tenant's, in any order.
pub async fn get_many(db: &Database, tenant: TenantId, ids: &[VideoId]) -> Result<Vec<Video>> {
    let videos = Entity::find().filter(Column::TenantId.eq(tenant)).filter(Column::Id.is_in(ids.iter().copied()));
    videos.all(db.reader()).await.doing("reading videos")
}

/// A page of a tenant's videos.
pub async fn list(db: &Database, tenant: TenantId, page: &PageRequest) -> Result<Page<Video>> {
    let rows = Entity::find().filter(Column::TenantId.eq(tenant));
    page::fetch(rows, Column::Id, |row| row.id.uuid(), page, db.reader(), "listing videos").await
}

/// A video's frame index; `None` until it is ready, and for a video of another tenant.
pub async fn frame_index(db: &Database, tenant: TenantId, id: VideoId) -> Result<Option<Vec<u8>>> {
    if get(db, tenant, id).await?.is_none() {
        return Ok(None);
    }
    let row = frame_index::Entity::find_by_id(id).one(db.reader()).await.doing("reading a frame index")?;
    Ok(row.map(|row| row.bytes))
}

/// The videos that the export of a claimed job reads, in any order.
pub async fn for_worker(db: &Database, job: &Job) -> Result<Vec<Video>> {
    let sources = Query::select()
        .column(export_source::Column::VideoId)
        .from(export_source::Entity)
        .and_where(export_source::Column::ExportId.eq(job.export_id))
        .to_owned();
    let videos = Entity::find()
        .filter(Column::TenantId.eq(job.tenant_id))
        .filter(Column::Id.in_subquery(sources))
        .all(db.reader())
        .await;
    videos.doing("reading an export's videos")
}

/// Videos of any tenant whose processing did not end, those with the fewest attempts first: for the start of a node.
pub async fn unprocessed(db: &Database) -> Result<Vec<Video>> {
    let videos = Entity::find()
        .filter(Column::State.eq(VideoState::Processing))
        .order_by_asc(Column::IndexAttempts)
        .order_by_asc(Column::Id)
        .all(db.reader())
        .await;
    videos.doing("finding unprocessed videos")
}

/// Counts that the building of a video's frame index begins, before its file is opened: a crash leaves the count. False
/// when the video is not being processed (any more).
pub async fn begin_indexing(db: &Database, tenant: TenantId, id: VideoId) -> Result<bool> {
    add_attempts(db, tenant, id, 1).await
}

/// Takes back what [`begin_indexing`] counted, when the building ended for a reason that is not the file's.
pub async fn give_indexing_back(db: &Database, tenant: TenantId, id: VideoId) -> Result<bool> {
    add_attempts(db, tenant, id, -1).await
}

async fn add_attempts(db: &Database, tenant: TenantId, id: VideoId, attempts: i32) -> Result<bool> {
    let tx = db.begin().await?;
    let updated = Entity::update_many()
        .col_expr(Column::IndexAttempts, Expr::col(Column::IndexAttempts).add(attempts))
        .filter(Column::Id.eq(id))
        .filter(Column::TenantId.eq(tenant))
        .filter(Column::State.eq(VideoState::Processing))
        .exec(tx.raw())
        .await;
    let counted = updated.doing("counting attempts to index a video")?.rows_affected > 0;
    tx.commit().await?;
    Ok(counted)
}

/// Makes a processed video ready; false when it is not being processed (any more).
pub async fn set_ready(db: &Database, tenant: TenantId, id: VideoId, found: Processed) -> Result<bool> {
    let tx = db.begin().await?;
    let row = ActiveModel {
        state: Set(VideoState::Ready),
        facts: Set(Some(found.facts)),
        width: Set(Some(found.width)),
        height: Set(Some(found.height)),
        duration: Set(Some(found.duration)),
        ..Default::default()
    };
    if !leave_processing(tx.raw(), tenant, id, row).await? {
        return Ok(false);
    }
    let index = frame_index::ActiveModel { video_id: Set(id), bytes: Set(found.frame_index) };
    frame_index::Entity::insert(index).exec_without_returning(tx.raw()).await.doing("storing a frame index")?;
    announce(&tx, tenant, id, Event::VideoReady).await?;
    tx.commit().await?;
    Ok(true)
}

/// Makes a video failed, with a problem object, counts its bytes no longer, and records its files as to be removed;
/// false when it is not being processed.
pub async fn set_failed(db: &Database, tenant: TenantId, id: VideoId, problem: Json) -> Result<bool> {
    let row = ActiveModel {
        state: Set(VideoState::Failed),
        problem: Set(Some(problem)),
        bytes: Set(0),
        ..Default::default()
    };
    let tx = db.begin().await?;
    if !leave_processing(tx.raw(), tenant, id, row).await? {
        return Ok(false);
    }
    removals::record_in(&tx, tenant, Subject::Video(id)).await?;
    announce(&tx, tenant, id, Event::VideoFailed).await?;
    tx.commit().await?;
    Ok(true)
}

/// Queues a message to the tenant's webhooks that a video is ready or has failed, in the same transaction.
async fn announce(tx: &Transaction, tenant: TenantId, id: VideoId, event: Event) -> Result<()> {
    let Some(video) = Entity::find_by_id(id).one(tx.raw()).await.doing("reading a video")? else { return Ok(()) };
    let data = json!({
        "id": video.id,
        "name": video.name,
        "state": video.state,
        "bytes": video.bytes,
        "width": video.width,
        "height": video.height,
        "duration": video.duration,
        "problem": video.problem,
        "created_at": video.created_at,
    });
    webhooks::announce(tx, tenant, event, data).await
}

async fn leave_processing(db: &impl ConnectionTrait, tenant: TenantId, id: VideoId, row: ActiveModel) -> Result<bool> {
    let updated = Entity::update_many()
        .set(row)
        .filter(Column::Id.eq(id))
        .filter(Column::TenantId.eq(tenant))
        .filter(Column::State.eq(VideoState::Processing))
        .exec(db)
        .await;
    Ok(updated.doing("ending a video's processing")?.rows_affected > 0)
}

/// Deletes a video with its detections and links, and records its files as to be removed. Unfinished exports that use it
/// prevent that, unless `force` cancels them.
pub async fn delete(db: &Database, tenant: TenantId, id: VideoId, force: bool) -> Result<Deleted> {
    let tx = db.begin().await?;
    let video = Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).lock_exclusive().one(tx.raw()).await;
    if video.doing("reading a video")?.is_none() {
        return Ok(Deleted::NotFound);
    }
    let users = unfinished_users(tx.raw(), id).await?;
    if !users.is_empty() && !force {
        return Ok(Deleted::InUse(users));
    }
    let mut cancelled = Vec::new();
    for export in users {
        if let exports::Cancelled::Now(export) = exports::cancel_in(&tx, tenant, export).await? {
            cancelled.push(export.id);
        }
    }
    detections::delete_in(&tx, Subject::Video(id)).await?;
    links::delete_in(&tx, Subject::Video(id)).await?;
    removals::record_in(&tx, tenant, Subject::Video(id)).await?;
    Entity::delete_by_id(id).exec(tx.raw()).await.doing("deleting a video")?;
    tx.commit().await?;
    Ok(Deleted::Gone { cancelled })
}

async fn unfinished_users(db: &impl ConnectionTrait, id: VideoId) -> Result<Vec<ExportId>> {
    let of_video = Query::select()
        .column(export_source::Column::ExportId)
        .from(export_source::Entity)
        .and_where(export_source::Column::VideoId.eq(id))
        .to_owned();
    let users = export::Entity::find()
        .select_only()
        .column(export::Column::Id)
        .filter(export::Column::Id.in_subquery(of_video))
        .filter(export::Column::State.is_in(ExportState::UNFINISHED))
        .into_tuple()
        .all(db)
        .await;
    users.doing("finding exports that use a video")
}
