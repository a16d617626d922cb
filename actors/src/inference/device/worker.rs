//! A worker: one OS thread that owns the process of a device, and has it serve the batches that the worker is handed.
//!
//! A worker whose process hangs is abandoned: the process is killed, the next generation starts, and what the old one
//! still sends is ignored: all answers go through the supervisor, and each event carries the generation of its sender.
//! A process that cannot be killed, in a call of a driver that the kernel does not interrupt, keeps its thread.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Instant;

use edits::RgbImage;
use tokio::sync::mpsc::Sender;
use tracing::{Span, trace_span};

use super::engine::{Engine, EngineFactory, EngineFault, WorkerProcess};
use super::validate;
use crate::inference::queue::{FrameJob, Output, TaskKind};

/// Frames of one task and one size.
pub type Batch = Vec<Arc<FrameJob>>;

/// What a worker reports to its supervisor.
pub struct WorkerEvent {
    /// The generation of the sender.
    pub epoch: u64,
    pub what: WorkerNews,
}

pub enum WorkerNews {
    /// Models are loaded and have answered their canaries.
    Ready,
    /// The first of the batches it was handed has begun.
    Began { at: Instant },
    /// The first batch is served: an answer a frame, in order.
    Served { answers: Vec<Output>, began: Instant, ended: Instant },
    /// The answers of the first batch have no receiver any more.
    Skipped,
    /// The first batch failed; the worker goes on.
    Failed { reason: String },
    /// The worker is gone: its models did not load, its process has ended, or it panicked.
    Ended { reason: String },
    /// The worker is gone, and its first batch has nothing to do with that.
    Lost { reason: String },
}

/// Batches a worker may hold: one runs, one is prepared.
pub const IN_HAND: usize = 2;

/// A running worker. Dropped, it ends after the batch it is in.
pub struct Worker {
    batches: SyncSender<Batch>,
    process: WorkerProcess,
    life: Weak<()>,
}

impl Worker {
    /// Starts the worker of generation `epoch`.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn spawn(
        device: Arc<str>,
        epoch: u64,
        factory: EngineFactory,
        events: Sender<WorkerEvent>,
    ) -> std::io::Result<Self> {
        let (batches, inbox) = sync_channel(IN_HAND);
        let name = Arc::clone(&device);
        let alive = Arc::new(());
        let life = Arc::downgrade(&alive);
        let process = WorkerProcess::default();
        let held = process.clone();
        thread::Builder::new().name(format!("device-{device}")).spawn(move || {
            let _alive = alive;
            let report = |what| {
                // The supervisor may have gone: then the node is stopping, and so does this thread.
                let _ = events.blocking_send(WorkerEvent { epoch, what });
            };
            let ended = catch_unwind(AssertUnwindSafe(|| serve(&name, || factory(&held), &inbox, &report)));
            report(match ended {
                Ok(Ok(())) => return,
                Ok(Err(last)) => last,
                Err(panic) => WorkerNews::Ended { reason: format!("the worker panicked: {}", panic_text(&*panic)) },
            });
        })?;
        Ok(Self { batches, process, life })
    }

    /// Hands a batch over, or gives it back when the worker is gone. At most [`IN_HAND`] may be unanswered.
    pub fn hand(&self, batch: Batch) -> Result<(), Batch> {
        self.batches.try_send(batch).map_err(|error| match error {
            std::sync::mpsc::TrySendError::Full(batch) | std::sync::mpsc::TrySendError::Disconnected(batch) => batch,
        })
    }

    /// Abandons the worker and kills its process. The returned reference can be upgraded as long as its thread exists.
    pub fn leave(self) -> Weak<()> {
        self.process.abandon();
        self.life
    }
}

/// Serves until there is nothing more to serve. An error is what is reported last.
fn serve(
    device: &Arc<str>,
    make: impl FnOnce() -> Result<Box<dyn Engine>, String>,
    inbox: &Receiver<Batch>,
    report: &dyn Fn(WorkerNews),
) -> Result<(), WorkerNews> {
    let mut engine = make().map_err(|reason| WorkerNews::Ended { reason })?;
    report(WorkerNews::Ready);
    while let Ok(batch) = inbox.recv() {
        if batch.iter().all(|job| job.is_dead()) {
            report(WorkerNews::Skipped);
            continue;
        }
        let began = Instant::now();
        report(WorkerNews::Began { at: began });
        report(match span_of(device, &batch).in_scope(|| run(engine.as_mut(), &batch)) {
            Ok(answers) => WorkerNews::Served { answers, began, ended: Instant::now() },
            Err(EngineFault::Batch(reason)) => WorkerNews::Failed { reason },
            Err(EngineFault::Engine(reason)) => return Err(WorkerNews::Ended { reason }),
            Err(EngineFault::Lost(reason)) => return Err(WorkerNews::Lost { reason }),
        });
    }
    Ok(())
}

/// A batch in a trace: whose frames it holds, and who serves them.
fn span_of(device: &Arc<str>, batch: &Batch) -> Span {
    let exports = || {
        let mut ids: Vec<_> = batch.iter().map(|job| job.export.to_string()).collect();
        ids.dedup();
        ids.join(" ")
    };
    let kind = match batch.first().map(|job| job.task.kind) {
        Some(TaskKind::Upscale) => "upscale",
        Some(TaskKind::Detect) => "detect",
        None => "nothing",
    };
    trace_span!("infer", %device, %kind, frames = batch.len(), export = %exports())
}

/// Serves one batch; a panic inside the engine is a failure of the batch's device and passes through.
fn run(engine: &mut dyn Engine, batch: &Batch) -> Result<Vec<Output>, EngineFault> {
    let task = &batch.first().ok_or_else(|| EngineFault::Batch("an empty batch".to_owned()))?.task;
    let images: Vec<&RgbImage> = batch.iter().map(|job| job.image.as_ref()).collect();
    let answers = engine.run(task, &images)?;
    let checked = engine.scale(task).and_then(|scale| validate::check(task, scale, &images, &answers));
    checked.map(|()| answers).map_err(EngineFault::Batch)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
