//! One claimed job that makes a file: a segment, or the sound. Rendered in a process of its own, stored, committed.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edits::FrameDetections;
use entities::detections::NewDetection;
use entities::jobs::{self, Job, JobKind};
use entities::segments::{self, Committed, NewSegment};
use entities::usage::DeviceTime;
use tracing::Instrument;

use super::error::JobError;
use super::job::{Ending, JobOutcome, LEASE, record_job_failure};
use super::run::{ExportRun, WorkFolder};
use crate::checksum;
use crate::context::NodeContext;
use crate::failpoints::{self, Point};
use crate::processes::error::ProcessError;
use crate::processes::renders::Rendered;
use crate::render::{Detected, SegmentPlan};
use crate::storage;
use crate::threads;

/// Renders, stores and commits `job`.
pub async fn run(context: &Arc<NodeContext>, run: &Arc<ExportRun>, job: &Job) -> JobOutcome {
    match Ending::of(attempt(context, run, job).await) {
        Ending::Done(outcome) => outcome,
        Ending::Release => {
            release(context, job).await;
            JobOutcome::Released
        }
        Ending::Record(error) => {
            let failure = run.cause(context, error.into()).await;
            record_job_failure(context, job, &failure.while_doing(described(run, job))).await
        }
    }
}

/// Gives a job back whose work was stopped.
pub async fn release(context: &NodeContext, job: &Job) {
    if let Err(error) = jobs::release(&context.db, job).await {
        tracing::error!(export = %job.export_id, %error, "releasing a lease failed; it will run out");
    }
}

/// The part, as its export's problem names it.
fn described(run: &ExportRun, job: &Job) -> String {
    match plan_of(run, job) {
        Ok(Some(SegmentPlan { index, first_frame, frames })) => {
            format!("segment {index} (output frames {first_frame} to {})", first_frame + frames.saturating_sub(1))
        }
        _ => format!("{} {}", job.kind, job.index).to_lowercase(),
    }
}

async fn attempt(context: &Arc<NodeContext>, run: &Arc<ExportRun>, job: &Job) -> Result<JobOutcome, JobError> {
    let name = format!("{}-{}", job.kind, job.index).to_lowercase();
    let plan = plan_of(run, job)?;
    // Removed with all that was rendered and not stored: the next try makes it again.
    let folder = run.work_folder(context, &name)?;
    let rendered = render(context, run, job, plan.clone(), &folder).await?;
    let key = storage::segment_key(job.tenant_id, job.export_id, &name, run.attempts(job));
    let (bytes, sha256) = store(context, &name, &key, &folder.file).await?;
    let (before, after) = match job.kind {
        JobKind::Audio => (Point::AudioStored, Point::AudioCommitted),
        _ => (Point::SegmentStored, Point::SegmentCommitted),
    };
    failpoints::at(before).map_err(|source| JobError::Io { doing: "committing".into(), source })?;
    let row = NewSegment {
        first_frame: plan.as_ref().map_or(0, |segment| segment.first_frame as i64),
        frames: rendered.frames as i64,
        storage_key: key.clone(),
        bytes: bytes as i64,
        sha256,
        device_seconds: rendered.times.device_seconds,
        frames_inferred: rendered.frames_inferred as i64,
        devices: device_times(context, &rendered),
    };
    let detected = run.kind.detected(job.export_id);
    let found = detection_rows(run, detected, rendered.detections)?;
    let committed = segments::commit(&context.db, job, row, &found).instrument(tracing::debug_span!("commit")).await?;
    failpoints::passed(after);
    match committed {
        Committed::First => {
            if !found.is_empty() {
                context.detections_changed(job.tenant_id, detected.map(|detected| detected.subject)).await;
            }
            Ok(JobOutcome::Committed)
        }
        Committed::Late => {
            let store = Arc::clone(&context.storage);
            threads::named("store-late".into(), move || store.delete(&key)).await??;
            Ok(JobOutcome::NotNeeded)
        }
    }
}

/// Renders in a process of its own.
async fn render(
    context: &Arc<NodeContext>,
    run: &Arc<ExportRun>,
    job: &Job,
    plan: Option<SegmentPlan>,
    folder: &WorkFolder,
) -> Result<Rendered, JobError> {
    let (begun, done) = match job.kind {
        JobKind::Audio => (Point::AudioBegun, None),
        _ => (Point::SegmentBegun, Some(Point::SegmentRendered)),
    };
    failpoints::at(begun).map_err(|source| JobError::Io { doing: "beginning".into(), source })?;
    let rendered = while_leased(context, run, job, in_process(context, run, plan, folder)).await?;
    if let Some(done) = done {
        failpoints::passed(done);
    }
    Ok(rendered)
}

async fn in_process(
    context: &NodeContext,
    run: &ExportRun,
    plan: Option<SegmentPlan>,
    folder: &WorkFolder,
) -> Result<Rendered, ProcessError> {
    let (render, work, out) = (&run.render, Arc::clone(&run.work), folder.output());
    match plan {
        Some(segment) => context.processes.segment(render, work, segment, out).await,
        None => context.processes.audio(render, work, out).await,
    }
}

/// Stores the rendered file. Returns its size in bytes and its SHA-256.
async fn store(context: &NodeContext, name: &str, key: &str, file: &Path) -> Result<(u64, String), JobError> {
    let (store, key, file) = (Arc::clone(&context.storage), key.to_owned(), file.to_owned());
    threads::named(format!("store-{name}"), move || {
        let doing = || format!("computing the checksum of {}", file.display());
        let sums = checksum::of_file(&file).map_err(|source| JobError::Io { doing: doing(), source })?;
        store.put_file(&key, &file)?;
        Ok(sums)
    })
    .await?
}

/// The time that a segment took of each device, at the price in force.
fn device_times(context: &NodeContext, rendered: &Rendered) -> Vec<DeviceTime> {
    let price = context.live.borrow().live.planner.price_per_device_second;
    let time = |(device, &(frames, device_seconds)): (&Arc<str>, &(u64, f64))| DeviceTime {
        device: device.to_string(),
        frames: frames as i64,
        device_seconds,
        cost: device_seconds * price,
    };
    rendered.times.devices.iter().map(time).collect()
}

/// The part that a segment job stands for; None for the sound.
fn plan_of(run: &ExportRun, job: &Job) -> Result<Option<SegmentPlan>, JobError> {
    if job.kind == JobKind::Audio {
        return Ok(None);
    }
    let number = job.index as usize;
    let plan = run.kind.segments().into_iter().nth(number);
    plan.map(Some).ok_or_else(|| JobError::Broken(format!("the plan has no segment {number}")))
}

/// Waits for `work` and renews the lease meanwhile, as long as the export's counters show that it advances, or no device
/// serves for which it could. Once the lease is lost, the work is stopped if the export's attempt is over.
async fn while_leased<T>(
    context: &NodeContext,
    run: &ExportRun,
    job: &Job,
    work: impl Future<Output = Result<T, ProcessError>>,
) -> Result<T, JobError> {
    tokio::pin!(work);
    let patience = Duration::from_secs_f64(context.settings.devices.stall_seconds) * 2;
    let mut beats = run.render.meter.beats();
    let mut advanced = Instant::now();
    loop {
        tokio::select! {
            done = &mut work => return Ok(done?),
            () = tokio::time::sleep(LEASE / 3) => {
                let now = run.render.meter.beats();
                if now != beats || context.queue.is_deserted() {
                    (beats, advanced) = (now, Instant::now());
                }
                let renewed = match advanced.elapsed() < patience {
                    true => jobs::renew(&context.db, job, LEASE).await,
                    false => Ok(false),
                };
                let checked = match renewed {
                    Ok(true) => Ok(()),
                    Ok(false) => run.stop_if_over(context, job).await,
                    Err(error) => Err(error),
                };
                // Lost or not renewed, the commit's fence decides what the work is worth.
                if let Err(error) = checked {
                    tracing::warn!(export = %job.export_id, %error, "renewing a lease failed");
                }
            }
        }
    }
}

/// Detections as rows, of whom the export's plan says: not the process that found them.
fn detection_rows(
    run: &ExportRun,
    detected: Option<Detected>,
    found: Vec<FrameDetections>,
) -> Result<Vec<NewDetection>, JobError> {
    let (Some(Detected { subject, width, height }), Some(profile)) = (detected, &run.render.profile.detect) else {
        return Ok(Vec::new());
    };
    let row = |frame: FrameDetections| {
        let boxes = serde_json::to_value(&frame.boxes).map_err(|error| JobError::Broken(error.to_string()))?;
        Ok(NewDetection {
            subject,
            model: profile.model.clone(),
            frame: frame.frame as i64,
            time: frame.time,
            width: width as i32,
            height: height as i32,
            boxes,
        })
    };
    found.into_iter().map(row).collect()
}
