//! The steps of a [coordinator](super::coordinator): each reads the rows, does what is next, and returns how the export
//! stands. Every change of a row is fenced by the coordinator's job.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use entities::exports::{self, Completion, Export, ExportState, Finished, ResultFile};
use entities::jobs::{self, Job, JobKind, JobState, NewJob};
use entities::segments::{self, Segment, SegmentKind};

use super::error::JobError;
use super::estimate;
use super::failure::ExportFailure;
use super::report::{Report, Totals};
use super::run::{ExportRun, WorkFolder};
use crate::checksum;
use crate::context::NodeContext;
use crate::failpoints::{self, Point};
use crate::progress::hub::Publish;
use crate::progress::message::Progress;
use crate::render::{Joined, SegmentPlan};
use crate::settings::tenant_limits;
use crate::storage;
use crate::threads;

/// How the export stands after a step.
pub enum Step {
    /// Jobs are under way.
    Waiting(Box<Export>),
    /// The export is complete or failed.
    Ended(Box<Export>),
    /// The export was cancelled, or another node coordinates it by now.
    NotHeld,
}

/// What the jobs and segments of an export allow.
#[derive(Debug, PartialEq)]
enum Next {
    /// A job is dead, with this problem.
    Fail(serde_json::Value),
    /// Every part is committed.
    Publish,
    /// Parts are missing.
    Wait,
}

/// Decides what follows from the rows; `segments` and `has_audio` are what was planned.
fn next(jobs: &[Job], rows: &[Segment], segments: usize, has_audio: bool) -> Next {
    if let Some(dead) = jobs.iter().find(|job| job.state == JobState::Dead) {
        return Next::Fail(dead.problem());
    }
    let committed = |kind| rows.iter().filter(|row| row.kind == kind).count();
    let whole = committed(SegmentKind::Video) == segments && committed(SegmentKind::Audio) == usize::from(has_audio);
    if whole { Next::Publish } else { Next::Wait }
}

/// The parts of an export that have no job yet.
fn missing_jobs(known: &[Job], job: &Job, segments: &[SegmentPlan], has_audio: bool, frame_cost: f64) -> Vec<NewJob> {
    let new = |kind, index, cost| NewJob { export: job.export_id, tenant: job.tenant_id, kind, index, cost };
    let parts = segments.iter().map(|part| new(JobKind::Segment, part.index as i32, part.frames as f64 * frame_cost));
    let audio = has_audio.then(|| new(JobKind::Audio, 0, 0.0));
    let is_known = |part: &NewJob| known.iter().any(|known| (known.kind, known.index) == (part.kind, part.index));
    parts.chain(audio).filter(|part| !is_known(part)).collect()
}

/// Reads the rows and does the next step.
pub async fn step(context: &Arc<NodeContext>, run: &Arc<ExportRun>, job: &Job) -> Result<Step, ExportFailure> {
    let row = exports::for_worker(&context.db, job).await?;
    let Some(row) = row.filter(|row| !row.state.is_terminal()) else { return Ok(Step::NotHeld) };
    match row.state {
        ExportState::Queued | ExportState::Preparing => prepare(context, run, job).await,
        _ => watch(context, run, job, row).await,
    }
}

/// Enqueues a job for each part that has none yet.
async fn prepare(context: &Arc<NodeContext>, run: &Arc<ExportRun>, job: &Job) -> Result<Step, ExportFailure> {
    let planning = |error: entities::Error| ExportFailure::from(error).while_doing("planning the segments");
    if let Some(reason) = run.kind.hopeless() {
        return fail(context, job, exports::problem("render_failed", &reason)).await;
    }
    if advance(context, job, ExportState::Preparing).await?.is_none() {
        return Ok(Step::NotHeld);
    }
    let known = jobs::of_export(&context.db, job).await.map_err(planning)?;
    let segments = run.kind.segments();
    let frame_cost = estimate::frame_cost(context, run.kind.as_ref(), &run.render.profile);
    let missing = missing_jobs(&known, job, &segments, run.kind.has_audio(), frame_cost);
    let tx = context.db.begin().await.map_err(planning)?;
    jobs::enqueue_all(&tx, &missing).await.map_err(planning)?;
    let planned = failpoints::at(Point::PartsPlanned);
    planned.map_err(|source| JobError::Io { doing: "planning the segments".into(), source })?;
    tx.commit().await.map_err(planning)?;
    failpoints::passed(Point::PartsEnqueued);
    let Some(row) = advance(context, job, ExportState::Rendering).await? else { return Ok(Step::NotHeld) };
    if segments.is_empty() && !run.kind.has_audio() {
        // Without parts there is no job to wait for.
        return watch(context, run, job, row).await;
    }
    Ok(Step::Waiting(Box::new(row)))
}

/// Joins and publishes when every part is committed; fails when one is dead.
async fn watch(
    context: &Arc<NodeContext>,
    run: &Arc<ExportRun>,
    job: &Job,
    row: Export,
) -> Result<Step, ExportFailure> {
    let watching = |error: entities::Error| ExportFailure::from(error).while_doing("watching the segments");
    let jobs = jobs::of_export(&context.db, job).await.map_err(watching)?;
    let rows = segments::for_worker(&context.db, job).await.map_err(watching)?;
    let decided = next(&jobs, &rows, run.kind.segments().len(), run.kind.has_audio());
    let (video, audio): (Vec<Segment>, Vec<Segment>) = rows.into_iter().partition(|row| row.kind == SegmentKind::Video);
    let meter = &run.render.meter;
    if meter.frames().1 == 0 {
        let committed: u64 = video.iter().map(|row| row.frames as u64).sum();
        meter.frames_found(committed + run.kind.frames_copied());
    }
    match decided {
        Next::Fail(problem) => fail(context, job, problem).await,
        Next::Publish => publish(context, run, job, &video, audio.first()).await,
        Next::Wait => Ok(Step::Waiting(Box::new(row))),
    }
}

/// Joins the parts, stores the result and completes the export.
async fn publish(
    context: &Arc<NodeContext>,
    run: &Arc<ExportRun>,
    job: &Job,
    video: &[Segment],
    audio: Option<&Segment>,
) -> Result<Step, ExportFailure> {
    if advance(context, job, ExportState::Assembling).await?.is_none() {
        return Ok(Step::NotHeld);
    }
    let folder = run.work_folder(context, "result")?;
    let published = join_and_store(context, run, job, video, audio, &folder).await?;
    let Some((joined, result)) = published else { return Ok(Step::NotHeld) };
    let publishing = |error: entities::Error| ExportFailure::from(error).while_doing("publishing the result");
    for warning in run.render.meter.warnings() {
        exports::warn(&context.db, job, &warning).await.map_err(publishing)?;
    }
    let report = report(run, joined, video);
    let finished = Finished {
        cost: report.device_seconds * context.live.borrow().live.planner.price_per_device_second,
        report: serde_json::to_value(&report).map_err(ExportFailure::other)?,
        result: Some(result.clone()),
    };
    // Before the export is complete, so that readers of its detections then get all of them.
    context.detections_changed(job.tenant_id, run.kind.detected(job.export_id).map(|detected| detected.subject)).await;
    let everywhere = context.live.borrow().live.limits.clone();
    let room = tenant_limits::of(&context.db, &everywhere, job.tenant_id).await.map_err(publishing)?.storage_bytes;
    let row = match exports::finish(&context.db, job, finished, room).await.map_err(publishing)? {
        Completion::Now(row) => *row,
        Completion::Not => {
            // Named by the attempts, so it is this coordinator's own. The files of a cancelled export may have been
            // removed before this one was stored.
            remove_result(context, &result.key).await;
            return Ok(Step::NotHeld);
        }
        Completion::Full(full) => {
            remove_result(context, &result.key).await;
            // Its segments are kept, so a retry has only to join and publish them.
            let detail = format!("publishing the result: {full}, then retry");
            return fail(context, job, exports::problem("storage_full", &detail)).await;
        }
    };
    failpoints::passed(Point::ExportFinished);
    remove_parts(context, job, &result.key).await;
    failpoints::passed(Point::SegmentsRemoved);
    Ok(Step::Ended(Box::new(row)))
}

/// Removes a stored result that is not published.
async fn remove_result(context: &NodeContext, key: &str) {
    let (store, key) = (Arc::clone(&context.storage), key.to_owned());
    let removed = threads::named("unpublish".into(), move || store.delete(&key)).await;
    if let Err(error) = removed.map_err(JobError::from).and_then(|removed| removed.map_err(JobError::from)) {
        tracing::warn!(%error, "a result that is not published could not be removed");
    }
}

/// Joins the parts in `folder` and stores the result; None when the job is not held any more.
async fn join_and_store(
    context: &Arc<NodeContext>,
    run: &Arc<ExportRun>,
    job: &Job,
    video: &[Segment],
    audio: Option<&Segment>,
    folder: &WorkFolder,
) -> Result<Option<(Joined, ResultFile)>, ExportFailure> {
    check_parts(context, video.iter().chain(audio)).await?;
    let joined = join(context, run, job, (video, audio), folder).await;
    let joined = joined.map_err(|error| ExportFailure::from(error).while_doing("joining the segments"))?;
    failpoints::passed(Point::Joined);
    if advance(context, job, ExportState::Publishing).await?.is_none() {
        return Ok(None);
    }
    let key = storage::result_key(job.tenant_id, job.export_id, run.attempts(job), run.export.kind.0.extension());
    let stored = store_result(context, &key, &folder.file).await;
    let (bytes, sha256) = stored.map_err(|error| ExportFailure::from(error).while_doing("publishing the result"))?;
    Ok(Some((joined, ResultFile { key, bytes: bytes as i64, etag: sha256[..32].to_owned() })))
}

async fn join(
    context: &NodeContext,
    run: &ExportRun,
    job: &Job,
    (video, audio): (&[Segment], Option<&Segment>),
    folder: &WorkFolder,
) -> Result<Joined, JobError> {
    failpoints::at(Point::Joining).map_err(|source| JobError::Io { doing: "joining".into(), source })?;
    let path_of = |row: &Segment| context.storage.local_path(&row.storage_key);
    let parts = context.storage.local_path(&storage::segments_prefix(job.tenant_id, job.export_id));
    let segments: Vec<PathBuf> = video.iter().map(path_of).collect();
    let files = (parts, segments, audio.map(path_of));
    Ok(context.processes.join(&run.render, Arc::clone(&run.work), files, folder.output()).await?)
}

/// Stores the joined file. Returns its size in bytes and its SHA-256.
async fn store_result(context: &NodeContext, key: &str, file: &Path) -> Result<(u64, String), JobError> {
    let (store, key, file) = (Arc::clone(&context.storage), key.to_owned(), file.to_owned());
    threads::named("publish".into(), move || {
        let doing = || format!("computing the checksum of {}", file.display());
        let sums = checksum::of_file(&file).map_err(|source| JobError::Io { doing: doing(), source })?;
        store.put_file(&key, &file)?;
        failpoints::at(Point::ResultStored).map_err(|source| JobError::Io { doing: "completing".into(), source })?;
        Ok(sums)
    })
    .await?
}

/// Checks that each finished part is there with its size; storage may have lost it.
async fn check_parts(context: &NodeContext, parts: impl Iterator<Item = &Segment>) -> Result<(), ExportFailure> {
    let parts: Vec<Segment> = parts.cloned().collect();
    let store = Arc::clone(&context.storage);
    let check = move || {
        parts.iter().try_for_each(|part| match store.size(&part.storage_key) {
            Ok(bytes) if bytes == part.bytes.unsigned_abs() => Ok(()),
            Ok(bytes) => Err(format!("finished {} {} has {bytes} of {} bytes", part.kind, part.index, part.bytes)),
            Err(error) => Err(format!("finished {} {} is gone: {error}", part.kind, part.index)),
        })
    };
    let checked = threads::blocking("checking the segments", check).await.map_err(ExportFailure::other)?;
    checked.map_err(ExportFailure::lost)
}

fn report(run: &ExportRun, joined: Joined, video: &[Segment]) -> Report {
    let totals = Totals {
        frames_inferred: video.iter().map(|row| row.frames_inferred as u64).sum(),
        // Not `sum`, which is -0 for no segment.
        device_seconds: video.iter().fold(0.0, |sum, row| sum + row.device_seconds),
    };
    let profile = serde_json::to_value(&run.render.profile).unwrap_or_default();
    let report = Report::new(joined, &run.render.meter, totals, profile, run.export.simulated);
    Report { details: run.kind.details(), ..report }
}

/// The result is published: its parts, and what earlier tries left, are removed.
async fn remove_parts(context: &NodeContext, job: &Job, result: &str) {
    let (store, prefix) = (Arc::clone(&context.storage), storage::export_prefix(job.tenant_id, job.export_id));
    let kept = HashSet::from([result.to_owned()]);
    let delete = move || storage::delete_all_but(&*store, &prefix, &kept).map_err(JobError::from);
    let deleted = threads::named("sweep".into(), delete).await.map_err(JobError::from).and_then(|deleted| deleted);
    if let Err(error) = deleted {
        tracing::warn!(export = %job.export_id, %error, "finished segments could not be removed");
    }
}

/// Moves the export forward and publishes that. None: the job is not held any more.
async fn advance(context: &NodeContext, job: &Job, state: ExportState) -> Result<Option<Export>, ExportFailure> {
    let noting =
        |error: entities::Error| ExportFailure::from(error).while_doing(format!("noting that the export is {state}"));
    let row = exports::advance(&context.db, job, state).await.map_err(noting)?;
    failpoints::passed(Point::StateAdvanced);
    if let Some(row) = &row {
        // A full mailbox skips one of many updates.
        let _ = context.progress.try_send(Publish(Progress::of(row)));
    }
    Ok(row)
}

/// Ends the export as failed.
async fn fail(context: &NodeContext, job: &Job, problem: serde_json::Value) -> Result<Step, ExportFailure> {
    let row = exports::fail(&context.db, job, problem).await?;
    failpoints::passed(Point::ExportFailed);
    Ok(row.map_or(Step::NotHeld, |row| Step::Ended(Box::new(row))))
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use entities::ExportId;

    use super::super::job::test_job;
    use super::*;

    fn job(kind: JobKind, index: i32, state: JobState) -> Job {
        let (error, error_code) = (Some("no frames".into()), Some("render_failed".into()));
        Job { index, state, error, error_code, ..test_job(kind) }
    }

    fn segment(kind: SegmentKind, index: i32) -> Segment {
        Segment {
            export_id: ExportId::new(),
            kind,
            index,
            first_frame: 0,
            frames: 120,
            storage_key: String::new(),
            bytes: 1,
            sha256: String::new(),
            device_seconds: 0.0,
            frames_inferred: 0,
            committed_at: Utc::now(),
        }
    }

    #[test]
    fn an_export_is_published_when_every_part_is_committed() {
        let (video, audio) = (|index| segment(SegmentKind::Video, index), segment(SegmentKind::Audio, 0));
        let running = [job(JobKind::Coordinate, 0, JobState::Running), job(JobKind::Segment, 1, JobState::Running)];
        assert_eq!(next(&running, &[video(0), audio.clone()], 2, true), Next::Wait);
        assert_eq!(next(&running, &[video(0), video(1)], 2, true), Next::Wait, "the sound is missing");
        assert_eq!(next(&running, &[video(0), video(1), audio], 2, true), Next::Publish);
        assert_eq!(next(&running, &[video(0), video(1)], 2, false), Next::Publish);
        assert_eq!(next(&[], &[], 0, false), Next::Publish, "without parts there is nothing to wait for");
    }

    #[test]
    fn a_dead_part_fails_the_export_whatever_is_committed() {
        let dead = job(JobKind::Segment, 1, JobState::Dead);
        let problem = dead.problem();
        let jobs = [job(JobKind::Segment, 0, JobState::Done), dead];
        assert_eq!(next(&jobs, &[segment(SegmentKind::Video, 0)], 2, false), Next::Fail(problem));
    }

    #[test]
    fn only_missing_parts_are_enqueued_at_their_cost() {
        let coordinator = job(JobKind::Coordinate, 0, JobState::Running);
        let plan = |index, frames| SegmentPlan { index, first_frame: 0, frames };
        let segments = [plan(0, 120), plan(1, 60)];
        let known = [coordinator.clone(), job(JobKind::Segment, 0, JobState::Done)];
        let missing = missing_jobs(&known, &coordinator, &segments, true, 0.5);
        let found: Vec<_> = missing.iter().map(|job| (job.kind, job.index, job.cost)).collect();
        assert_eq!(found, [(JobKind::Segment, 1, 30.0), (JobKind::Audio, 0, 0.0)]);
        assert!(missing.iter().all(|job| job.tenant == coordinator.tenant_id && job.export == coordinator.export_id));
        let all = [job(JobKind::Segment, 0, JobState::Done), job(JobKind::Segment, 1, JobState::Dead)];
        assert!(missing_jobs(&all, &coordinator, &segments, false, 0.5).is_empty());
    }
}
