//! A worker generation: one OS thread that owns a device's loaded models and serves the batches it is handed.
//!
//! A generation that hangs cannot be killed; its supervisor turns away from it (the epoch in each event tells
//! which generation speaks) and starts another.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use tokio::sync::mpsc::Sender;
use tracing::{Span, trace_span};

use super::engine::{Engine, EngineFactory};
use crate::frame_queue::{FrameJob, Output, Served};

/// Frames of one task and one size.
pub type Batch = Vec<Arc<FrameJob>>;

/// What a worker tells its supervisor.
pub struct WorkerEvent {
    /// The generation that speaks.
    pub epoch: u64,
    pub what: WorkerNews,
}

pub enum WorkerNews {
    /// Models are loaded and have answered their canaries.
    Ready,
    /// The first of the batches it was handed has begun: there is room for the next.
    Began,
    /// The first batch is answered.
    Served { frames: usize, seconds: f64 },
    /// The first batch failed; the worker goes on.
    Failed { reason: String },
    /// The worker is gone: its models did not load, or it panicked.
    Ended { reason: String },
}

/// Batches a worker may hold: one runs, one is prepared.
pub const IN_HAND: usize = 2;

/// Starts a generation. Dropping the returned sender ends it after the batch in hand.
pub fn spawn(
    device: Arc<str>,
    epoch: u64,
    factory: EngineFactory,
    events: Sender<WorkerEvent>,
) -> std::io::Result<SyncSender<Batch>> {
    let (batches, inbox) = sync_channel(IN_HAND);
    thread::Builder::new().name(format!("device-{device}")).spawn(move || {
        let tell = |what| {
            // The supervisor may have gone: then the node is stopping, and so does this thread.
            let _ = events.blocking_send(WorkerEvent { epoch, what });
        };
        let ended = catch_unwind(AssertUnwindSafe(|| serve(&device, &factory, &inbox, &tell)));
        let reason = match ended {
            Ok(Ok(())) => return,
            Ok(Err(reason)) => reason,
            Err(panic) => format!("the worker panicked: {}", panic_text(&*panic)),
        };
        tell(WorkerNews::Ended { reason });
    })?;
    Ok(batches)
}

fn serve(
    device: &Arc<str>,
    factory: &EngineFactory,
    inbox: &Receiver<Batch>,
    tell: &dyn Fn(WorkerNews),
) -> Result<(), String> {
    let mut engine = factory()?;
    tell(WorkerNews::Ready);
    while let Ok(batch) = inbox.recv() {
        tell(WorkerNews::Began);
        let began = Instant::now();
        let result = span_of(device, &batch).in_scope(|| run(engine.as_mut(), &batch));
        let ended = Instant::now();
        let seconds = (ended - began).as_secs_f64();
        match result {
            Ok(outputs) => {
                let frames = batch.len();
                let device_seconds = seconds / frames as f64;
                for (job, output) in batch.iter().zip(outputs) {
                    job.answer(Ok(Served { output, device: device.clone(), device_seconds, began, ended }));
                }
                tell(WorkerNews::Served { frames, seconds });
            }
            Err(reason) => tell(WorkerNews::Failed { reason }),
        }
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
    let kind = batch.first().map(|job| job.task.kind);
    trace_span!("infer", %device, ?kind, frames = batch.len(), export = exports())
}

/// Serves one batch; a panic inside the engine is a failure of the batch's device and passes through.
fn run(engine: &mut dyn Engine, batch: &Batch) -> Result<Vec<Output>, String> {
    let first = batch.first().ok_or("an empty batch")?;
    let images: Vec<_> = batch.iter().map(|job| job.image.as_ref()).collect();
    let outputs = engine.run(&first.task, &images)?;
    if outputs.len() != batch.len() {
        return Err(format!("{} answers for {} frames", outputs.len(), batch.len()));
    }
    Ok(outputs)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
