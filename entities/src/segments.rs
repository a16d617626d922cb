//! Finished segments, and the accounts they add up to.

use sea_orm::{
    ExprTrait, QueryOrder,
    entity::prelude::*,
    sea_query::{OnConflict, Query},
};

use crate::{
    Database, ExportId, Result, Subject, TenantId, Transaction,
    detections::{self, NewDetection},
    error::Doing,
    exports,
    jobs::{self, Job, JobKind},
    now,
    rows::{
        export, export_source, job,
        segment::{ActiveModel, Column, Entity, Model},
    },
    usage::{self, DeviceTime, Entry, Work},
};

pub use crate::rows::segment::{Model as Segment, SegmentKind};

/// A segment whose file is stored; the claimed job says which.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSegment {
    /// Output frame it begins at.
    pub first_frame: i64,
    /// Output frames it has; 0 for sound.
    pub frames: i64,
    /// Where the file lies; empty when detections are all there is.
    pub storage_key: String,
    /// Its size.
    pub bytes: i64,
    /// Of the file, in lower-case hexadecimal.
    pub sha256: String,
    /// Device time it took.
    pub device_seconds: f64,
    /// Frames that ran through a model.
    pub frames_inferred: i64,
    /// The devices that ran them.
    pub devices: Vec<DeviceTime>,
}

/// What came of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// The segment counts.
    First,
    /// The job was no longer the caller's, or the segment was there: nothing was added, and the caller's file can go.
    Late,
}

/// Commits a segment in one transaction: its row, its detections, the export's totals, what the tenant used, its place
/// in the fair order, and the end of its job. First commit wins; a late twin changes no row and no total.
///
/// Detections must be of the job's export or of a video it reads; others are left out.
pub async fn commit(db: &Database, job: &Job, new: NewSegment, found: &[NewDetection]) -> Result<Committed> {
    let tx = db.begin().await?;
    let export = exports::lock(&tx, job.tenant_id, job.export_id).await?;
    let running = export.is_some_and(|export| !export.state.is_terminal());
    if !running || !jobs::done_in(tx.raw(), job).await? {
        return Ok(Committed::Late);
    }
    let devices = new.devices.clone();
    let segment = row(job, new);
    if !insert(&tx, &segment).await? {
        // The job had been enqueued again after its segment was finished: it ends, and adds nothing.
        tx.commit().await?;
        return Ok(Committed::Late);
    }
    let own = of_export_or_sources(&tx, job, found).await?;
    detections::put_in(&tx, job.tenant_id, &own).await?;
    add_to_totals(&tx, &segment).await?;
    record_usage(&tx, job, &segment, &devices).await?;
    jobs::record_actual(&tx, job, segment.device_seconds).await?;
    forgive_coordinator(&tx, job.export_id).await?;
    tx.commit().await?;
    Ok(Committed::First)
}

fn row(job: &Job, new: NewSegment) -> Segment {
    let kind = if job.kind == JobKind::Audio { SegmentKind::Audio } else { SegmentKind::Video };
    Model {
        export_id: job.export_id,
        kind,
        index: job.index,
        first_frame: new.first_frame,
        frames: new.frames,
        storage_key: new.storage_key,
        bytes: new.bytes,
        sha256: new.sha256,
        device_seconds: new.device_seconds,
        frames_inferred: new.frames_inferred,
        committed_at: now(),
    }
}

async fn insert(tx: &Transaction, segment: &Segment) -> Result<bool> {
    let key = [Column::ExportId, Column::Kind, Column::Index];
    let inserted = Entity::insert(ActiveModel::from(segment.clone()).reset_all())
        .on_conflict(OnConflict::columns(key).do_nothing().to_owned())
        .exec_without_returning(tx.raw())
        .await;
    Ok(inserted.doing("committing a segment")? > 0)
}

async fn of_export_or_sources(tx: &Transaction, job: &Job, found: &[NewDetection]) -> Result<Vec<NewDetection>> {
    let sources = export_source::Entity::find()
        .filter(export_source::Column::ExportId.eq(job.export_id))
        .all(tx.raw())
        .await
        .doing("reading an export's sources")?;
    let own = |subject: Subject| match subject {
        Subject::Export(id) => id == job.export_id,
        Subject::Video(id) => sources.iter().any(|source| source.video_id == id),
    };
    Ok(found.iter().filter(|detection| own(detection.subject)).cloned().collect())
}

async fn add_to_totals(tx: &Transaction, segment: &Segment) -> Result<()> {
    use export::Column as Total;
    let frames = if segment.kind == SegmentKind::Video { segment.frames } else { 0 };
    export::Entity::update_many()
        .col_expr(Total::FramesDone, Expr::col(Total::FramesDone).add(frames))
        .col_expr(Total::FramesInferred, Expr::col(Total::FramesInferred).add(segment.frames_inferred))
        .col_expr(Total::DeviceSeconds, Expr::col(Total::DeviceSeconds).add(segment.device_seconds))
        .filter(Total::Id.eq(segment.export_id))
        .exec(tx.raw())
        .await
        .doing("adding a segment to its export's totals")?;
    Ok(())
}

async fn record_usage(tx: &Transaction, job: &Job, segment: &Segment, devices: &[DeviceTime]) -> Result<()> {
    let entry = Entry {
        tenant: job.tenant_id,
        export: Some(job.export_id),
        work: if segment.kind == SegmentKind::Audio { Work::Audio } else { Work::Segment },
        index: segment.index,
        frames: segment.frames,
        frames_inferred: segment.frames_inferred,
        bytes: segment.bytes,
        device_seconds: segment.device_seconds,
        devices,
    };
    usage::record(tx, &entry).await
}

/// The export made progress: its coordinator's crashes are counted anew. Those of other parts stay: a segment that
/// crashes its process at every try must end its export, however many of its neighbours are committed in between.
async fn forgive_coordinator(tx: &Transaction, export: ExportId) -> Result<()> {
    job::Entity::update_many()
        .col_expr(job::Column::Crashes, Expr::value(0))
        .filter(job::Column::ExportId.eq(export))
        .filter(job::Column::Kind.eq(JobKind::Coordinate))
        .filter(job::Column::Crashes.gt(0))
        .exec(tx.raw())
        .await
        .doing("forgiving a coordinator's crashes")?;
    Ok(())
}

/// The committed segments of the export that a claimed job belongs to, by kind and index.
pub async fn for_worker(db: &Database, job: &Job) -> Result<Vec<Segment>> {
    list(db, job.tenant_id, job.export_id).await
}

/// The committed segments of a tenant's export, by kind and index.
pub async fn list(db: &Database, tenant: TenantId, export: ExportId) -> Result<Vec<Segment>> {
    let own = Query::select()
        .column(export::Column::Id)
        .from(export::Entity)
        .and_where(export::Column::TenantId.eq(tenant))
        .and_where(export::Column::Id.eq(export))
        .to_owned();
    let segments = Entity::find()
        .filter(Column::ExportId.in_subquery(own))
        .order_by_asc(Column::Kind)
        .order_by_asc(Column::Index)
        .all(db.reader())
        .await;
    segments.doing("reading an export's segments")
}
