//! A frame that waits for a device, or is being served by one, and what a device answers.

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use edits::{DetectedBox, RgbImage};
use entities::{ExportId, TenantId};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::{ReadyDevices, Wanted};
use crate::inference::profile::{DeviceClass, ModelProfile};

/// What a device is to do with a frame, and in which numeric profile: only devices of the profile's class may serve
/// the frame, so the bytes do not depend on which one did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub kind: TaskKind,
    pub profile: Arc<ModelProfile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TaskKind {
    /// Super-resolution of one picture.
    Upscale,
    /// Persons in one picture.
    Detect,
}

/// A device's answer for one frame.
#[derive(Debug)]
pub enum Output {
    Image(RgbImage),
    Boxes(Vec<DetectedBox>),
}

/// A served frame: the answer, and the share of the device's time it took.
#[derive(Debug)]
pub struct Served {
    pub output: Output,
    pub device: Arc<str>,
    pub device_seconds: f64,
    /// When the batch the frame was in began and ended.
    pub began: Instant,
    pub ended: Instant,
}

/// Why no device served a frame, after every try.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
#[error("device {device}: {reason}")]
pub struct DeviceFault {
    pub device: Arc<str>,
    pub reason: String,
}

/// Who waits for a frame's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// An export.
    Batch,
    /// A person, who waits for this one frame: it goes before the exports of its tenant.
    Interactive,
}

impl Lane {
    /// As a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Batch => "batch",
            Self::Interactive => "interactive",
        }
    }
}

/// What is kept until a frame is answered or given up by every device, such as the permit it was submitted with.
pub type Held = Arc<dyn Any + Send + Sync>;

/// One frame that waits for a device, or is being served by one. Shared so that it can be given to another device
/// when the first one stalls: the first answer wins.
pub struct FrameJob {
    pub tenant: TenantId,
    /// The export it is of; nil for a single frame.
    pub export: ExportId,
    pub lane: Lane,
    pub task: Task,
    pub image: Arc<RgbImage>,
    /// What the frame is expected to cost, in device seconds: the unit of fairness.
    pub estimate: f64,
    /// Since when it waits.
    pub queued: Instant,
    reply: Mutex<Option<oneshot::Sender<Result<Served, DeviceFault>>>>,
    /// The devices that failed on it, one entry a try.
    failed_on: Mutex<Vec<Arc<str>>>,
    /// Dropped before the answer is sent, or with the frame: whoever was answered may ask again at once.
    held: Mutex<Option<Held>>,
}

/// Failed tries after which a frame fails, unless another device may still serve it ([`MOST_TRIES`]).
const TRIES: usize = 3;
/// Upper bound of tries. The first [`TRIES`] may all have been on broken devices, so the frame is tried again while
/// another device is ready that it has not failed on. More tries would let one poison frame break every device.
pub(super) const MOST_TRIES: usize = 6;

impl FrameJob {
    /// A frame of an export and the receiver of its answer. Dropping the receiver cancels the job.
    pub fn new(
        tenant: TenantId,
        export: ExportId,
        task: Task,
        image: Arc<RgbImage>,
        estimate: f64,
    ) -> (Arc<Self>, oneshot::Receiver<Result<Served, DeviceFault>>) {
        Self::in_lane((Lane::Batch, None), tenant, export, task, image, estimate)
    }

    /// A frame that a person waits for, with what is held until it is served; else like [`FrameJob::new`].
    pub fn interactive(
        tenant: TenantId,
        task: Task,
        image: Arc<RgbImage>,
        estimate: f64,
        held: Held,
    ) -> (Arc<Self>, oneshot::Receiver<Result<Served, DeviceFault>>) {
        let nil = ExportId::from(uuid::Uuid::nil());
        Self::in_lane((Lane::Interactive, Some(held)), tenant, nil, task, image, estimate)
    }

    fn in_lane(
        (lane, held): (Lane, Option<Held>),
        tenant: TenantId,
        export: ExportId,
        task: Task,
        image: Arc<RgbImage>,
        estimate: f64,
    ) -> (Arc<Self>, oneshot::Receiver<Result<Served, DeviceFault>>) {
        let (reply, answer) = oneshot::channel();
        let failed_on = Mutex::new(Vec::new());
        let reply = Mutex::new(Some(reply));
        let queued = Instant::now();
        let job =
            Self { tenant, export, lane, task, image, estimate, queued, reply, failed_on, held: Mutex::new(held) };
        (Arc::new(job), answer)
    }

    /// Answers the requester. A second answer (a late one, of a fenced-off worker) is ignored.
    pub fn answer(&self, result: Result<Served, DeviceFault>) {
        let Some(reply) = lock(&self.reply).take() else { return };
        if let Ok(served) = &result {
            let waited = served.began.saturating_duration_since(self.queued).as_secs_f64();
            metrics::histogram!("touchline_queue_wait_seconds", "lane" => self.lane.name()).record(waited);
        }
        drop(lock(&self.held).take());
        // The requester may have gone away in the meantime: then the answer is dropped.
        let _ = reply.send(result);
    }

    /// Whether the answer has no receiver any more.
    pub fn is_dead(&self) -> bool {
        lock(&self.reply).as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Records a failed try. True: the frame is to be tried again; false: the fault was sent to the requester.
    pub(super) fn may_retry(&self, fault: &DeviceFault, ready: &ReadyDevices) -> bool {
        let tries = {
            let mut failed_on = lock(&self.failed_on);
            failed_on.push(fault.device.clone());
            failed_on.len()
        };
        let again = tries < TRIES || (tries < MOST_TRIES && self.another_is_ready(ready));
        if !again {
            self.answer(Err(fault.clone()));
        }
        again
    }

    /// Whether the device must not take the frame, because another one is ready that has not failed on it: the frame
    /// failed on this device, or it failed anywhere and this device is not ready.
    fn is_reserved_from(&self, device: &str, ready: &ReadyDevices) -> bool {
        let excluded = {
            let failed_on = lock(&self.failed_on);
            let here = failed_on.iter().any(|failed| **failed == *device);
            here || (!failed_on.is_empty() && !ready.contains_key(device))
        };
        excluded && self.another_is_ready(ready)
    }

    /// Whether a device is ready for the frame that has not failed on it.
    fn another_is_ready(&self, ready: &ReadyDevices) -> bool {
        let failed_on = lock(&self.failed_on);
        let fits = |(device, class): (&Arc<str>, &DeviceClass)| {
            *class == self.task.profile.class && !failed_on.contains(device)
        };
        ready.iter().any(fits)
    }

    /// Whether a device that wants work may have this frame.
    pub(super) fn suits(&self, wanted: &Wanted, ready: &ReadyDevices) -> bool {
        wanted.class == self.task.profile.class && !self.is_reserved_from(&wanted.device, ready)
    }

    /// Whether both may be in one batch. A frame that failed is tried alone: it may be the one that made the others
    /// fail.
    pub(super) fn alike(&self, other: &Self) -> bool {
        let shape = |job: &Self| (job.image.width, job.image.height);
        let failed = |job: &Self| !lock(&job.failed_on).is_empty();
        self.task == other.task && shape(self) == shape(other) && !failed(self) && !failed(other)
    }

    /// Ids are UUIDv7: they sort by age.
    pub(super) fn age(&self) -> u128 {
        self.export.uuid().as_u128()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds this lock")
}
