//! One claimed job that makes a file: a segment, or the sound. Rendered on a thread of its own, stored, committed.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entities::detections::NewDetection;
use entities::jobs::{self, Failure, Job, JobKind};
use entities::segments::{self, Committed, NewSegment};
use entities::usage::DeviceTime;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::exports::failure::ExportFailure;
use crate::exports::run::ExportRun;
use crate::failpoints::{self, Point};
use crate::node::NodeContext;
use crate::render::{FoundFrame, RenderError, RenderedSegment, SegmentPlan};
use crate::storage;

/// How long a claimed job is ours without a sign of life.
pub const LEASE: Duration = Duration::from_secs(30);

/// How long a failure waits that a full disk keeps from being written down.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// How a job ended for this node.
#[derive(Debug)]
pub enum JobOutcome {
    /// Its file is stored and its row committed.
    Committed,
    /// Somebody else had committed it first, or the export is not wanted any more.
    NotNeeded,
    /// It will be tried again.
    Retried,
    /// It failed too often.
    Dead,
    /// The node stops; the lease was given back.
    Released,
}

impl JobOutcome {
    /// As a metric's label.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::NotNeeded => "not_needed",
            Self::Retried => "retried",
            Self::Dead => "dead",
            Self::Released => "released",
        }
    }
}

/// Renders, stores and commits `job`.
pub async fn run(context: &Arc<NodeContext>, running: &Arc<ExportRun>, job: &Job) -> JobOutcome {
    match attempt(context, running, job).await {
        Ok(end) => end,
        Err(RenderError::Stopped(_)) => match jobs::release(&context.db, job).await {
            Ok(_) => JobOutcome::Released,
            Err(error) => {
                tracing::error!(export = %running.export.id, %error, "giving a lease back failed; it will run out");
                JobOutcome::Released
            }
        },
        Err(error) => {
            let trouble = running.cause(context, error.into()).await;
            fail(context, job, &trouble.while_doing(described(running, job))).await
        }
    }
}

/// A part, as its export's problem names it.
fn described(running: &ExportRun, job: &Job) -> String {
    match plan_of(running, job) {
        Ok(Some(SegmentPlan { index, first_frame, frames })) => {
            format!("segment {index} (output frames {first_frame} to {})", first_frame + frames.saturating_sub(1))
        }
        _ => format!("{} {}", job.kind, job.index).to_lowercase(),
    }
}

/// Books a failure of `job`.
pub async fn fail(context: &NodeContext, job: &Job, trouble: &ExportFailure) -> JobOutcome {
    let ExportFailure { code, detail } = trouble;
    tracing::warn!(export = %job.export_id, kind = %job.kind, index = job.index, code, detail, "a job failed");
    metrics::counter!("touchline_job_failures_total").increment(1);
    let failure = book(context, job, trouble).await;
    failpoints::passed(Point::FailureBooked);
    match failure {
        Ok(Failure::Retry { .. }) => JobOutcome::Retried,
        Ok(Failure::Dead) => JobOutcome::Dead,
        Ok(Failure::Lost) => JobOutcome::NotNeeded,
        Err(error) => {
            tracing::error!(export = %job.export_id, %error, "booking a failure failed; the lease will run out");
            JobOutcome::Retried
        }
    }
}

/// Writes a failure down; where the disk is so full that not even this can be written, tries for the length of a lease.
pub async fn book(context: &NodeContext, job: &Job, trouble: &ExportFailure) -> Result<Failure, entities::Error> {
    let deadline = Instant::now() + LEASE;
    loop {
        match jobs::fail(&context.db, job, trouble.code, &trouble.detail).await {
            Err(error) if error.is_full() && Instant::now() < deadline => {
                tracing::error!(export = %job.export_id, %error, "no room to write a failure down");
                tokio::time::sleep(FULL_PAUSE).await;
            }
            booked => return booked,
        }
    }
}

async fn attempt(context: &Arc<NodeContext>, running: &Arc<ExportRun>, job: &Job) -> Result<JobOutcome, RenderError> {
    let name = format!("{}-{}", job.kind, job.index).to_lowercase();
    let file = running.work_file(context, &name, running.attempts(job));
    let end = finish(context, running, job, &name, &file).await;
    if end.is_err() {
        // Rendered, but not stored: the next try makes it again.
        remove_leftover(&file);
    }
    end
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

/// Renders on a thread of its own.
async fn render(
    context: &Arc<NodeContext>,
    running: &Arc<ExportRun>,
    job: &Job,
    plan: Option<SegmentPlan>,
    file: &Path,
) -> Result<RenderedSegment, RenderError> {
    let (begun, done) = match job.kind {
        JobKind::Audio => (Point::AudioBegun, None),
        _ => (Point::SegmentBegun, Some(Point::SegmentRendered)),
    };
    let (with, file) = (Arc::clone(running), file.to_owned());
    let rendered = on_thread(format!("encode-{}-{}", job.kind, job.index), move || {
        failpoints::at(begun).map_err(|source| RenderError::Io { doing: "beginning".into(), source })?;
        match &plan {
            Some(segment) => with.kind.render_segment(&with.run, segment, &file),
            None => with.kind.render_audio(&with.run, &file).map(|()| RenderedSegment::default()),
        }
    });
    let rendered = while_leased(context, running, job, rendered).await?;
    if let Some(done) = done {
        failpoints::passed(done);
    }
    Ok(rendered)
}

async fn finish(
    context: &Arc<NodeContext>,
    running: &Arc<ExportRun>,
    job: &Job,
    name: &str,
    file: &Path,
) -> Result<JobOutcome, RenderError> {
    let plan = plan_of(running, job)?;
    let rendered = render(context, running, job, plan.clone(), file).await?;
    let key = storage::segment_key(job.tenant_id, job.export_id, name, running.attempts(job));
    let stored = {
        let (store, key, file) = (Arc::clone(&context.storage), key.clone(), file.to_owned());
        on_thread(format!("store-{name}"), move || {
            let sums = sum(&file)?;
            store.put_file(&key, &file)?;
            Ok(sums)
        })
    };
    let (bytes, sha256) = stored.await?;
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
            on_thread("store-late".into(), move || Ok(store.delete(&key)?)).await?;
            Ok(JobOutcome::NotNeeded)
        }
    }
}

/// Whose time a segment took, at today's price.
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

/// The part a segment job stands for; None for the sound.
fn plan_of(running: &ExportRun, job: &Job) -> Result<Option<SegmentPlan>, RenderError> {
    if job.kind == JobKind::Audio {
        return Ok(None);
    }
    let number = job.index as usize;
    let plan = running.kind.segments().into_iter().nth(number);
    plan.map(Some).ok_or_else(|| RenderError::Broken(format!("the plan has no segment {number}")))
}

/// Waits for `work` and renews the lease meanwhile, as long as the export's counters show that it advances, or no device
/// is there for which it could.
async fn while_leased<T>(
    context: &NodeContext,
    running: &ExportRun,
    job: &Job,
    work: impl Future<Output = Result<T, RenderError>>,
) -> Result<T, RenderError> {
    tokio::pin!(work);
    let patience = Duration::from_secs_f64(context.settings.devices.stall_seconds) * 2;
    let mut beats = running.run.meter.beats();
    let mut advanced = Instant::now();
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(LEASE / 3) => {
                let now = running.run.meter.beats();
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

/// Runs blocking work on a named thread; the future ends with its result.
pub async fn on_thread<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> Result<T, RenderError> + Send + 'static,
) -> Result<T, RenderError> {
    let (sender, done) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.clone());
    // What is logged and traced there belongs to the job it is done for.
    let span = tracing::Span::current();
    let spawned = thread.spawn(move || {
        // Nobody waits any more only when the node is being dropped.
        let _ = sender.send(span.in_scope(work));
    });
    spawned.map_err(|source| RenderError::Io { doing: format!("starting thread {name}"), source })?;
    done.await.map_err(|_| RenderError::Broken(format!("thread {name} panicked")))?
}

/// Size and SHA-256 of a file.
pub fn sum(file: &Path) -> Result<(u64, String), RenderError> {
    let read = || -> std::io::Result<(u64, String)> {
        let mut reader = std::fs::File::open(file)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        let mut bytes = 0;
        loop {
            let got = reader.read(&mut buffer)?;
            if got == 0 {
                break;
            }
            hasher.update(&buffer[..got]);
            bytes += got as u64;
        }
        Ok((bytes, hex(&hasher.finalize())))
    };
    read().map_err(|source| RenderError::Io { doing: format!("summing {}", file.display()), source })
}

/// Lower-case hexadecimal, as checksums are stored and entity tags are made.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
