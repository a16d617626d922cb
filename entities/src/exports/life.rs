//! The changes of an export's state. Each is one compare-and-set: on the states it may come from and, for what a
//! coordinator changes, on the claim of its job.

use sea_orm::{
    ExprTrait,
    entity::prelude::*,
    sea_query::{CaseStatement, Func},
};
use serde_json::json;

use super::{Export, ExportState, lock};
use crate::{
    Database, ExportId, Result, Subject, TenantId, Transaction,
    error::Doing,
    jobs::{self, Job},
    now, removals,
    rows::{
        export::{Column, Entity},
        segment,
    },
    stored::{self, StorageFull},
    webhooks::{self, Event},
};

/// How an export ended well.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The final report.
    pub report: Json,
    /// The published file; none for kinds that make rows only.
    pub result: Option<ResultFile>,
    /// What its device-seconds cost.
    pub cost: f64,
}

/// A published file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultFile {
    /// Where it lies.
    pub key: String,
    /// Its size.
    pub bytes: i64,
    /// Its entity tag, without quotes.
    pub etag: String,
}

/// What came of completing an export.
#[derive(Debug, Clone, PartialEq)]
pub enum Completion {
    /// It is complete.
    Now(Box<Export>),
    /// Its result does not fit in what the tenant may store: nothing was changed.
    Full(StorageFull),
    /// It is in another state, or the job is no longer the caller's: nothing was changed.
    Not,
}

/// What came of cancelling.
#[derive(Debug, Clone, PartialEq)]
pub enum Cancelled {
    /// It is cancelled now, and so are its jobs.
    Now(Box<Export>),
    /// It had ended before, and is unchanged.
    Before(Box<Export>),
    /// There is no such export.
    NotFound,
}

/// Moves an export forward to `to`, on behalf of the coordinator that holds `job`. Returns the row after it; an export
/// that is at `to` or beyond stays in its state, since a coordinator that adopts an export walks through the states
/// again. `None` when the export has ended, or when the job is no longer the caller's, which must then stop.
pub async fn advance(db: &Database, job: &Job, to: ExportState) -> Result<Option<Export>> {
    let Some(rank) = ExportState::UNFINISHED.iter().position(|state| *state == to) else {
        return Ok(None);
    };
    let before = ExportState::UNFINISHED[..rank].iter().copied();
    let forward = CaseStatement::new().case(Column::State.is_in(before), to).finally(Expr::col(Column::State));
    let advanced = Entity::update_many()
        .col_expr(Column::State, forward.into())
        .col_expr(Column::StartedAt, Func::coalesce([Expr::col(Column::StartedAt), Expr::value(now())]).into())
        .filter(Column::Id.eq(job.export_id))
        .filter(Column::State.is_in(ExportState::UNFINISHED))
        .filter(jobs::is_held_expr(job))
        .exec_with_returning(db.writer())
        .await;
    Ok(advanced.doing("moving an export forward")?.pop())
}

/// Sets progress (0..1; less than before is ignored) and message, on behalf of the coordinator that holds `job`; false
/// when the export has ended or the job is no longer the caller's.
pub async fn set_progress(db: &Database, job: &Job, progress: f64, message: &str) -> Result<bool> {
    let progress = if progress.is_nan() { 0.0 } else { progress.clamp(0.0, 1.0) };
    let greater = CaseStatement::new()
        .case(Expr::col(Column::Progress).lt(progress), Expr::value(progress))
        .finally(Expr::col(Column::Progress));
    let updated = Entity::update_many()
        .col_expr(Column::Progress, greater.into())
        .col_expr(Column::Message, Expr::value(message))
        .filter(Column::Id.eq(job.export_id))
        .filter(Column::State.is_in(ExportState::UNFINISHED))
        .filter(jobs::is_held_expr(job))
        .exec(db.writer())
        .await;
    Ok(updated.doing("storing an export's progress")?.rows_affected > 0)
}

/// Adds a warning, once each; false when the export has ended or the job, of any kind, is no longer the caller's.
pub async fn warn(db: &Database, job: &Job, warning: &str) -> Result<bool> {
    let tx = db.begin().await?;
    let Some(export) = lock(&tx, job.tenant_id, job.export_id).await? else {
        return Ok(false);
    };
    let mut warnings = export.warnings.as_array().cloned().unwrap_or_default();
    if !warnings.iter().any(|known| known == warning) {
        warnings.push(warning.into());
    }
    let updated = Entity::update_many()
        .col_expr(Column::Warnings, Expr::value(Json::Array(warnings)))
        .filter(Column::Id.eq(job.export_id))
        .filter(Column::State.is_in(ExportState::UNFINISHED))
        .filter(jobs::is_held_expr(job))
        .exec(tx.raw())
        .await;
    let updated = updated.doing("adding a warning to an export")?.rows_affected > 0;
    tx.commit().await?;
    Ok(updated)
}

/// Completes an export that is `publishing`, and ends its coordinator's job with it, when its result fits in the `room`
/// bytes that its tenant may store in all.
pub async fn finish(db: &Database, job: &Job, finished: Finished, room: u64) -> Result<Completion> {
    let tx = db.begin().await?;
    let more = finished.result.as_ref().map_or(0, |file| file.bytes.unsigned_abs());
    if let Err(full) = stored::check_in(&tx, job.tenant_id, more, room).await? {
        return Ok(Completion::Full(full));
    }
    let (key, bytes, etag) = match finished.result {
        Some(file) => (Some(file.key), Some(file.bytes), Some(file.etag)),
        None => (None, None, None),
    };
    // Locks the export's row, after the tenant's and before the job's as everywhere.
    let completed = Entity::update_many()
        .col_expr(Column::State, Expr::value(ExportState::Complete))
        .col_expr(Column::Progress, Expr::value(1.0))
        // Segments have added theirs; frames that were copied when they were joined are in none.
        .col_expr(Column::FramesDone, Expr::col(Column::FramesTotal))
        .col_expr(Column::Message, Expr::value(""))
        .col_expr(Column::Report, Expr::value(Some(finished.report)))
        .col_expr(Column::Cost, Expr::value(finished.cost))
        .col_expr(Column::ResultKey, Expr::value(key))
        .col_expr(Column::ResultBytes, Expr::value(bytes))
        .col_expr(Column::ResultEtag, Expr::value(etag))
        .col_expr(Column::FinishedAt, Expr::value(Some(now())))
        .filter(Column::Id.eq(job.export_id))
        .filter(Column::State.eq(ExportState::Publishing))
        .exec_with_returning(tx.raw())
        .await;
    let Some(export) = completed.doing("completing an export")?.pop() else {
        return Ok(Completion::Not);
    };
    if !jobs::done_in(tx.raw(), job).await? {
        return Ok(Completion::Not);
    }
    jobs::cancel_export(&tx, job.export_id).await?;
    announce(&tx, &export).await?;
    tx.commit().await?;
    Ok(Completion::Now(Box::new(export)))
}

/// Fails an export with a problem object, on behalf of the coordinator that holds `job`: its other jobs are cancelled,
/// its own is done. Returns the row after it; `None`, and nothing changed, when the export has ended or the job is no
/// longer the caller's.
pub async fn fail(db: &Database, job: &Job, problem: Json) -> Result<Option<Export>> {
    let tx = db.begin().await?;
    if lock(&tx, job.tenant_id, job.export_id).await?.is_none() || !jobs::done_in(tx.raw(), job).await? {
        return Ok(None);
    }
    let Some(export) = fail_in(&tx, job.export_id, problem).await? else {
        return Ok(None);
    };
    tx.commit().await?;
    Ok(Some(export))
}

/// Fails an export, whose row the caller has locked, and cancels its jobs. Returns the row after it; `None`, and nothing
/// changed, when the export has ended.
pub(crate) async fn fail_in(tx: &Transaction, id: ExportId, problem: Json) -> Result<Option<Export>> {
    let failed = Entity::update_many()
        .col_expr(Column::State, Expr::value(ExportState::Failed))
        .col_expr(Column::Problem, Expr::value(Some(problem)))
        .col_expr(Column::FinishedAt, Expr::value(Some(now())))
        .filter(Column::Id.eq(id))
        .filter(Column::State.is_in(ExportState::UNFINISHED))
        .exec_with_returning(tx.raw())
        .await;
    let Some(export) = failed.doing("failing an export")?.pop() else {
        return Ok(None);
    };
    jobs::cancel_export(tx, id).await?;
    announce(tx, &export).await?;
    Ok(Some(export))
}

/// Queues a message to the tenant's webhooks about how an export has ended, in the transaction in which it did.
async fn announce(tx: &Transaction, export: &Export) -> Result<()> {
    let event = match export.state {
        ExportState::Complete => Event::ExportComplete,
        ExportState::Failed => Event::ExportFailed,
        ExportState::Cancelled => Event::ExportCancelled,
        _ => return Ok(()),
    };
    let data = json!({
        "id": export.id,
        "kind": export.kind.0,
        "state": export.state,
        "attempt": export.attempt,
        "frames_total": export.frames_total,
        "device_seconds": export.device_seconds,
        "cost": export.cost,
        "warnings": export.warnings,
        "problem": export.problem,
        "result_bytes": export.result_bytes,
        "reel_id": export.reel_id,
        "created_at": export.created_at,
        "finished_at": export.finished_at,
    });
    webhooks::announce(tx, export.tenant_id, event, data).await
}

/// Cancels an export and its jobs, forgets its segments, and records that its files are to be removed.
pub async fn cancel(db: &Database, tenant: TenantId, id: ExportId) -> Result<Cancelled> {
    let tx = db.begin().await?;
    let cancelled = cancel_in(&tx, tenant, id).await?;
    tx.commit().await?;
    Ok(cancelled)
}

pub(crate) async fn cancel_in(tx: &Transaction, tenant: TenantId, id: ExportId) -> Result<Cancelled> {
    let Some(mut export) = lock(tx, tenant, id).await? else {
        return Ok(Cancelled::NotFound);
    };
    if export.state.is_terminal() {
        return Ok(Cancelled::Before(Box::new(export)));
    }
    export.state = ExportState::Cancelled;
    export.finished_at = Some(now());
    Entity::update_many()
        .col_expr(Column::State, Expr::value(export.state))
        .col_expr(Column::FinishedAt, Expr::value(export.finished_at))
        .filter(Column::Id.eq(id))
        .exec(tx.raw())
        .await
        .doing("cancelling an export")?;
    jobs::cancel_export(tx, id).await?;
    let gone = segment::Entity::delete_many().filter(segment::Column::ExportId.eq(id)).exec(tx.raw()).await;
    gone.doing("forgetting a cancelled export's segments")?;
    removals::record_in(tx, tenant, Subject::Export(id)).await?;
    announce(tx, &export).await?;
    Ok(Cancelled::Now(Box::new(export)))
}

/// The problem object (RFC 9457) of an export that failed: `code` for programs, `detail` for people.
pub fn problem(code: &str, detail: &str) -> Json {
    let status = match code {
        "disk_full" => 507,
        "storage_full" => 413,
        _ => 500,
    };
    json!({
        "type": "about:blank",
        "title": "The export failed",
        "status": status,
        "code": code,
        "detail": detail,
    })
}
