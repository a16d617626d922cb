//! One claimed job that makes a file: a segment, or the sound. Rendered on a thread of its own, stored, committed.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use entities::detections::NewDetection;
use entities::jobs::{self, Failure, Job, JobKind};
use entities::segments::{self, Committed, NewSegment};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::node::Shared;
use crate::render::{FoundFrame, RenderError, RenderedSegment, SegmentPlan};
use crate::running::Running;
use crate::storage;

/// How long a claimed job is ours without a sign of life.
pub const LEASE: Duration = Duration::from_secs(30);

/// How a job ended for this node.
#[derive(Debug)]
pub enum JobEnd {
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

impl JobEnd {
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
pub async fn run(shared: &Arc<Shared>, running: &Arc<Running>, job: &Job) -> JobEnd {
    match attempt(shared, running, job).await {
        Ok(end) => end,
        Err(RenderError::Stopped(_)) => match jobs::release(&shared.db, job).await {
            Ok(_) => JobEnd::Released,
            Err(error) => {
                tracing::error!(export = %running.export.id, %error, "giving a lease back failed; it will run out");
                JobEnd::Released
            }
        },
        Err(error) => fail(shared, job, &format!("{} {}: {error}", job.kind, job.index)).await,
    }
}

/// Books a failure of `job`.
pub async fn fail(shared: &Shared, job: &Job, reason: &str) -> JobEnd {
    tracing::warn!(export = %job.export_id, kind = %job.kind, index = job.index, reason, "a job failed");
    metrics::counter!("touchline_job_failures_total").increment(1);
    match jobs::fail(&shared.db, job, reason).await {
        Ok(Failure::Retry { .. }) => JobEnd::Retried,
        Ok(Failure::Dead) => JobEnd::Dead,
        Ok(Failure::Lost) => JobEnd::NotNeeded,
        Err(error) => {
            tracing::error!(export = %job.export_id, %error, "booking a failure failed; the lease will run out");
            JobEnd::Retried
        }
    }
}

async fn attempt(shared: &Arc<Shared>, running: &Arc<Running>, job: &Job) -> Result<JobEnd, RenderError> {
    let plan = plan_of(running, job)?;
    let name = format!("{}-{}", job.kind, job.index);
    let file = running.work_file(shared, &name, job.attempt);
    let rendered = {
        let (running, plan, file) = (Arc::clone(running), plan.clone(), file.clone());
        on_thread(format!("encode-{name}"), move || match &plan {
            Some(segment) => running.kind.render_segment(&running.run, segment, &file),
            None => running.kind.render_audio(&running.run, &file).map(|()| RenderedSegment::default()),
        })
    };
    let rendered = while_leased(shared, running, job, rendered).await?;
    let key = storage::segment_key(job.tenant_id, job.export_id, &name, job.attempt);
    let stored = {
        let (store, key) = (Arc::clone(&shared.storage), key.clone());
        on_thread(format!("store-{name}"), move || {
            let sums = sum(&file)?;
            store.put_file(&key, &file).map_err(|error| RenderError::Broken(error.to_string()))?;
            Ok(sums)
        })
    };
    let (bytes, sha256) = stored.await?;
    let row = NewSegment {
        first_frame: plan.as_ref().map_or(0, |segment| segment.first_frame as i64),
        frames: rendered.frames as i64,
        storage_key: key.clone(),
        bytes: bytes as i64,
        sha256,
        device_seconds: rendered.device_seconds,
        frames_inferred: rendered.frames_inferred as i64,
    };
    let found: Vec<NewDetection> = rendered.detections.into_iter().map(row_of).collect::<Result<_, _>>()?;
    let committed = segments::commit(&shared.db, job, row, &found).instrument(tracing::debug_span!("commit")).await;
    match committed.map_err(|error| RenderError::Broken(error.to_string()))? {
        Committed::First => Ok(JobEnd::Committed),
        Committed::Late => {
            let store = Arc::clone(&shared.storage);
            let delete = move || store.delete(&key).map_err(|error| RenderError::Broken(error.to_string()));
            on_thread("store-late".into(), delete).await?;
            Ok(JobEnd::NotNeeded)
        }
    }
}

/// The part a segment job stands for; None for the sound.
fn plan_of(running: &Running, job: &Job) -> Result<Option<SegmentPlan>, RenderError> {
    if job.kind == JobKind::Audio {
        return Ok(None);
    }
    let number = job.index as usize;
    let plan = running.kind.segments().into_iter().nth(number);
    plan.map(Some).ok_or_else(|| RenderError::Broken(format!("the plan has no segment {number}")))
}

/// Waits for `work` and renews the lease meanwhile, as long as the export's counters show that it advances.
async fn while_leased<T>(
    shared: &Shared,
    running: &Running,
    job: &Job,
    work: impl Future<Output = Result<T, RenderError>>,
) -> Result<T, RenderError> {
    tokio::pin!(work);
    let patience = Duration::from_secs_f64(shared.settings.devices.stall_seconds) * 2;
    let mut beats = running.run.meter.beats();
    let mut advanced = Instant::now();
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(LEASE / 3) => {
                let now = running.run.meter.beats();
                if now != beats {
                    (beats, advanced) = (now, Instant::now());
                }
                // Lost or not renewed, the commit's fence decides what the work is worth.
                if advanced.elapsed() < patience
                    && let Err(error) = jobs::renew(&shared.db, job, LEASE).await
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
