//! One claimed job that makes a file: a segment, or the sound. Rendered on a thread of its own, stored, committed.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entities::detections::NewDetection;
use entities::jobs::{self, Job, JobKind};
use entities::segments::{self, Committed, NewSegment};
use entities::usage::DeviceTime;
use tracing::Instrument;

use super::job::{Ending, JobOutcome, LEASE, record_job_failure};
use super::run::ExportRun;
use crate::checksum;
use crate::context::NodeContext;
use crate::failpoints::{self, Point};
use crate::render::{FoundFrame, RenderError, RenderedSegment, SegmentPlan};
use crate::storage;
use crate::threads;

/// Renders, stores and commits `job`.
pub async fn run(context: &Arc<NodeContext>, run: &Arc<ExportRun>, job: &Job) -> JobOutcome {
    match Ending::of(attempt(context, run, job).await) {
        Ending::Done(outcome) => outcome,
        Ending::Release => {
            if let Err(error) = jobs::release(&context.db, job).await {
                tracing::error!(export = %run.export.id, %error, "releasing a lease failed; it will run out");
            }
            JobOutcome::Released
        }
        Ending::Record(error) => {
            let failure = run.cause(context, error.into()).await;
            record_job_failure(context, job, &failure.while_doing(described(run, job))).await
        }
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

async fn attempt(context: &Arc<NodeContext>, run: &Arc<ExportRun>, job: &Job) -> Result<JobOutcome, RenderError> {
    let name = format!("{}-{}", job.kind, job.index).to_lowercase();
    let file = run.work_file(context, &name, run.attempts(job));
    let outcome = make(context, run, job, &name, &file).await;
    if outcome.is_err() {
        // Rendered, but not stored: the next try makes it again.
        remove_leftover(&file);
    }
    outcome
}

/// Removes an unfinished file, where there is one.
pub fn remove_leftover(file: &Path) {
    match std::fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(file = %file.display(), %error, "an unfinished file could not be removed");
        }
        _ => {}
    }
}

async fn make(
    context: &Arc<NodeContext>,
    run: &Arc<ExportRun>,
    job: &Job,
    name: &str,
    file: &Path,
) -> Result<JobOutcome, RenderError> {
    let plan = plan_of(run, job)?;
    let rendered = render(context, run, job, plan.clone(), file).await?;
    let key = storage::segment_key(job.tenant_id, job.export_id, name, run.attempts(job));
    let (bytes, sha256) = store(context, name, &key, file).await?;
    let (before, after) = match job.kind {
        JobKind::Audio => (Point::AudioStored, Point::AudioCommitted),
        _ => (Point::SegmentStored, Point::SegmentCommitted),
    };
    failpoints::at(before).map_err(|source| RenderError::Io { doing: "committing".into(), source })?;
    let row = NewSegment {
        first_frame: plan.as_ref().map_or(0, |segment| segment.first_frame as i64),
        frames: rendered.frames as i64,
        storage_key: key.clone(),
        bytes: bytes as i64,
        sha256,
        device_seconds: rendered.device_seconds,
        frames_inferred: rendered.frames_inferred as i64,
        devices: device_times(context, &rendered),
    };
    let found: Vec<NewDetection> = rendered.detections.into_iter().map(row_of).collect::<Result<_, _>>()?;
    let committed = segments::commit(&context.db, job, row, &found).instrument(tracing::debug_span!("commit")).await?;
    failpoints::passed(after);
    match committed {
        Committed::First => Ok(JobOutcome::Committed),
        Committed::Late => {
            let store = Arc::clone(&context.storage);
            threads::named("store-late".into(), move || store.delete(&key)).await??;
            Ok(JobOutcome::NotNeeded)
        }
    }
}

/// Renders on a thread of its own.
async fn render(
    context: &Arc<NodeContext>,
    run: &Arc<ExportRun>,
    job: &Job,
    plan: Option<SegmentPlan>,
    file: &Path,
) -> Result<RenderedSegment, RenderError> {
    let (begun, done) = match job.kind {
        JobKind::Audio => (Point::AudioBegun, None),
        _ => (Point::SegmentBegun, Some(Point::SegmentRendered)),
    };
    let (with, file) = (Arc::clone(run), file.to_owned());
    let rendered = threads::named(format!("encode-{}-{}", job.kind, job.index), move || {
        failpoints::at(begun).map_err(|source| RenderError::Io { doing: "beginning".into(), source })?;
        match &plan {
            Some(segment) => with.kind.render_segment(&with.render, segment, &file),
            None => with.kind.render_audio(&with.render, &file).map(|()| RenderedSegment::default()),
        }
    });
    let rendered = while_leased(context, run, job, async { rendered.await? }).await?;
    if let Some(done) = done {
        failpoints::passed(done);
    }
    Ok(rendered)
}

/// Stores the rendered file. Returns its size in bytes and its SHA-256.
async fn store(context: &NodeContext, name: &str, key: &str, file: &Path) -> Result<(u64, String), RenderError> {
    let (store, key, file) = (Arc::clone(&context.storage), key.to_owned(), file.to_owned());
    threads::named(format!("store-{name}"), move || {
        let doing = || format!("computing the checksum of {}", file.display());
        let sums = checksum::of_file(&file).map_err(|source| RenderError::Io { doing: doing(), source })?;
        store.put_file(&key, &file)?;
        Ok(sums)
    })
    .await?
}

/// The time that a segment took of each device, at the price in force.
fn device_times(context: &NodeContext, rendered: &RenderedSegment) -> Vec<DeviceTime> {
    let price = context.live.borrow().live.planner.price_per_device_second;
    let time = |(device, &(frames, device_seconds)): (&Arc<str>, &(u64, f64))| DeviceTime {
        device: device.to_string(),
        frames: frames as i64,
        device_seconds,
        cost: device_seconds * price,
    };
    rendered.devices.iter().map(time).collect()
}

/// The part that a segment job stands for; None for the sound.
fn plan_of(run: &ExportRun, job: &Job) -> Result<Option<SegmentPlan>, RenderError> {
    if job.kind == JobKind::Audio {
        return Ok(None);
    }
    let number = job.index as usize;
    let plan = run.kind.segments().into_iter().nth(number);
    plan.map(Some).ok_or_else(|| RenderError::Broken(format!("the plan has no segment {number}")))
}

/// Waits for `work` and renews the lease meanwhile, as long as the export's counters show that it advances, or no device
/// serves for which it could.
async fn while_leased<T>(
    context: &NodeContext,
    run: &ExportRun,
    job: &Job,
    work: impl Future<Output = Result<T, RenderError>>,
) -> Result<T, RenderError> {
    tokio::pin!(work);
    let patience = Duration::from_secs_f64(context.settings.devices.stall_seconds) * 2;
    let mut beats = run.render.meter.beats();
    let mut advanced = Instant::now();
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(LEASE / 3) => {
                let now = run.render.meter.beats();
                if now != beats || context.queue.is_deserted() {
                    (beats, advanced) = (now, Instant::now());
                }
                // Lost or not renewed, the commit's fence decides what the work is worth.
                if advanced.elapsed() < patience
                    && let Err(error) = jobs::renew(&context.db, job, LEASE).await
                {
                    tracing::warn!(export = %job.export_id, %error, "renewing a lease failed");
                }
            }
        }
    }
}

fn row_of(frame: FoundFrame) -> Result<NewDetection, RenderError> {
    let boxes = serde_json::to_value(&frame.found.boxes).map_err(|error| RenderError::Broken(error.to_string()))?;
    Ok(NewDetection {
        subject: frame.subject,
        model: frame.model,
        frame: frame.found.frame as i64,
        time: frame.found.time,
        width: frame.width as i32,
        height: frame.height as i32,
        boxes,
    })
}
