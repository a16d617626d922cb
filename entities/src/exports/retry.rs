//! A new attempt of an export that failed or was cancelled.

use std::collections::HashSet;

use sea_orm::{Condition, entity::prelude::*};

use super::{Export, ExportState, lock};
use crate::{
    ExportId, JobId, Result, TenantId, Transaction,
    error::Doing,
    jobs::{self, JobKind, JobState, NewJob},
    rows::{
        export::{Column, Entity},
        job, segment,
    },
    segments::{Segment, SegmentKind},
};

/// What came of asking for a new attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Retried {
    /// It is queued again.
    Now(Box<Export>),
    /// It is unfinished or complete, and unchanged.
    Not(Box<Export>),
    /// There is no such export.
    NotFound,
}

/// Queues an export that failed or was cancelled again. Of its finished segments only those in `kept` count on; what is
/// missing is planned anew, with fresh jobs. Its figures begin with those of the kept segments.
pub async fn retry(
    tx: &Transaction,
    tenant: TenantId,
    id: ExportId,
    kept: &[Segment],
    profile: Option<Json>,
) -> Result<Retried> {
    let Some(before) = lock(tx, tenant, id).await? else {
        return Ok(Retried::NotFound);
    };
    if !matches!(before.state, ExportState::Failed | ExportState::Cancelled) {
        return Ok(Retried::Not(Box::new(before)));
    }
    drop_segments(tx, id, kept).await?;
    drop_jobs(tx, id, kept).await?;
    let pictures = || kept.iter().filter(|segment| segment.kind == SegmentKind::Video);
    let export = Export {
        state: ExportState::Queued,
        attempt: before.attempt + 1,
        profile,
        progress: 0.0,
        frames_done: pictures().map(|segment| segment.frames).sum(),
        frames_inferred: pictures().map(|segment| segment.frames_inferred).sum(),
        device_seconds: kept.iter().fold(0.0, |sum, segment| sum + segment.device_seconds),
        message: String::new(),
        warnings: Json::Array(Vec::new()),
        problem: None,
        started_at: None,
        finished_at: None,
        ..before
    };
    Entity::update_many()
        .col_expr(Column::State, Expr::value(export.state))
        .col_expr(Column::Attempt, Expr::value(export.attempt))
        .col_expr(Column::Profile, Expr::value(export.profile.clone()))
        .col_expr(Column::Progress, Expr::value(export.progress))
        .col_expr(Column::FramesDone, Expr::value(export.frames_done))
        .col_expr(Column::FramesInferred, Expr::value(export.frames_inferred))
        .col_expr(Column::DeviceSeconds, Expr::value(export.device_seconds))
        .col_expr(Column::Message, Expr::value(export.message.clone()))
        .col_expr(Column::Warnings, Expr::value(export.warnings.clone()))
        .col_expr(Column::Problem, Expr::value(None::<Json>))
        .col_expr(Column::StartedAt, Expr::value(None::<DateTimeUtc>))
        .col_expr(Column::FinishedAt, Expr::value(None::<DateTimeUtc>))
        .filter(Column::Id.eq(id))
        .exec(tx.raw())
        .await
        .doing("queueing an export again")?;
    let job = NewJob { export: id, tenant, kind: JobKind::Coordinate, index: 0, cost: 0.0 };
    jobs::enqueue(tx, &job).await?;
    Ok(Retried::Now(Box::new(export)))
}

/// Deletes the rows of segments that are not kept.
async fn drop_segments(tx: &Transaction, id: ExportId, kept: &[Segment]) -> Result<()> {
    let indexes = |kind| kept.iter().filter(move |segment| segment.kind == kind).map(|segment| segment.index);
    let mut stays = Condition::any();
    for kind in [SegmentKind::Video, SegmentKind::Audio] {
        let of_kind = Condition::all().add(segment::Column::Kind.eq(kind));
        stays = stays.add(of_kind.add(segment::Column::Index.is_in(indexes(kind))));
    }
    segment::Entity::delete_many()
        .filter(segment::Column::ExportId.eq(id))
        .filter(stays.not())
        .exec(tx.raw())
        .await
        .doing("dropping lost segments")?;
    Ok(())
}

/// Deletes every job but those whose segment is kept: the coordinator enqueues what it misses.
async fn drop_jobs(tx: &Transaction, id: ExportId, kept: &[Segment]) -> Result<()> {
    let kept: HashSet<(bool, i32)> =
        kept.iter().map(|segment| (segment.kind == SegmentKind::Audio, segment.index)).collect();
    let of_export = job::Entity::find().filter(job::Column::ExportId.eq(id));
    let jobs = of_export.all(tx.raw()).await.doing("reading an export's jobs")?;
    let is_kept = |job: &job::Model| {
        job.state == JobState::Done
            && job.kind != JobKind::Coordinate
            && kept.contains(&(job.kind == JobKind::Audio, job.index))
    };
    let gone: Vec<JobId> = jobs.iter().filter(|job| !is_kept(job)).map(|job| job.id).collect();
    for chunk in gone.chunks(500) {
        let these = job::Entity::delete_many().filter(job::Column::Id.is_in(chunk.iter().copied()));
        these.exec(tx.raw()).await.doing("dropping an ended attempt's jobs")?;
    }
    Ok(())
}
