//! Where frames wait for a device.
//!
//! A shared bounded structure and not a mailbox: render threads block while their tenant's share is full
//! (back-pressure reaches the decoder), supervisors await the next batch. Order is by
//! [deficit round robin](drr) over tenants, then by the export's age.

mod drr;

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use edits::{DetectedBox, RgbImage};
use entities::{ExportId, TenantId};
use tokio::sync::{Notify, oneshot};

use crate::profile::{DeviceClass, ModelProfile};
use drr::DeficitRoundRobin;

/// What a device is asked to do with a frame, and in which numeric profile: only devices of the profile's class
/// may serve the frame, so the bytes do not depend on who did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    pub kind: TaskKind,
    pub profile: Arc<ModelProfile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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
#[derive(Debug, Clone, thiserror::Error)]
#[error("device {device}: {reason}")]
pub struct DeviceFault {
    pub device: Arc<str>,
    pub reason: String,
}

/// One frame that waits for a device, or is in its hands. Kept shared so that it can be given to another device
/// when the first one stalls: whoever answers first wins.
pub struct FrameJob {
    pub tenant: TenantId,
    pub weight: f64,
    pub export: ExportId,
    pub task: Task,
    pub image: Arc<RgbImage>,
    /// What the frame is expected to cost, in device seconds: the unit of fairness.
    pub estimate: f64,
    reply: Mutex<Option<oneshot::Sender<Result<Served, DeviceFault>>>>,
    faults: Mutex<Vec<(DeviceFault, Instant)>>,
}

/// A frame is tried this often, on whichever devices are free, before its segment is told.
const TRIES: usize = 3;

/// How long a frame is left to the devices that have not failed on it.
const OTHERS_FIRST: Duration = Duration::from_secs(1);

impl FrameJob {
    /// A job and the receiver of its answer. Dropping the receiver cancels the job.
    pub fn new(
        tenant: TenantId,
        weight: f64,
        export: ExportId,
        task: Task,
        image: Arc<RgbImage>,
        estimate: f64,
    ) -> (Arc<Self>, oneshot::Receiver<Result<Served, DeviceFault>>) {
        let (reply, answer) = oneshot::channel();
        let faults = Mutex::new(Vec::new());
        let reply = Mutex::new(Some(reply));
        (Arc::new(Self { tenant, weight, export, task, image, estimate, reply, faults }), answer)
    }

    /// Answers the requester. A second answer (a late one, of a fenced-off worker) is ignored.
    pub fn answer(&self, result: Result<Served, DeviceFault>) {
        if let Some(reply) = lock(&self.reply).take() {
            // The requester may have gone away in the meantime: then nobody wants the answer.
            let _ = reply.send(result);
        }
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_dead(&self) -> bool {
        lock(&self.reply).as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    /// Notes a failed try. True: try elsewhere; false: the requester has been told.
    fn may_retry(&self, fault: DeviceFault) -> bool {
        let tries = {
            let mut faults = lock(&self.faults);
            faults.push((fault.clone(), Instant::now()));
            faults.len()
        };
        if tries >= TRIES {
            self.answer(Err(fault));
        }
        tries < TRIES
    }

    /// Whether `device` failed on this frame lately: others may try it first, but not for ever, since they may have
    /// failed on it too or be out of service.
    fn left_to_others(&self, device: &str) -> bool {
        let lately = |(fault, at): &(DeviceFault, Instant)| &*fault.device == device && at.elapsed() < OTHERS_FIRST;
        lock(&self.faults).iter().any(lately)
    }

    fn alike(&self, other: &Self) -> bool {
        let shape = |job: &Self| (job.image.width, job.image.height);
        self.task == other.task && shape(self) == shape(other)
    }
}

/// What a device can serve now.
pub struct Wanted {
    pub device: Arc<str>,
    /// The device serves every profile of its class.
    pub class: DeviceClass,
    /// Most frames in one batch.
    pub max: usize,
    /// No other device could take a frame this one failed on.
    pub alone: bool,
}

struct State {
    waiting: DeficitRoundRobin<TenantId, Arc<FrameJob>>,
    capacity_per_tenant: usize,
    closed: bool,
}

/// See the [module](self).
pub struct FrameQueue {
    state: Mutex<State>,
    room: Condvar,
    work: Notify,
}

/// Why a push did not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    #[error("the export was cancelled")]
    Cancelled,
    #[error("the node is stopping")]
    Closed,
}

/// How often a blocked push looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(50);

impl FrameQueue {
    /// `capacity_per_tenant`: frames of one tenant that may wait; `quantum`: device seconds a round.
    pub fn new(capacity_per_tenant: usize, quantum: f64) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: DeficitRoundRobin::new(quantum),
                capacity_per_tenant: capacity_per_tenant.max(1),
                closed: false,
            }),
            room: Condvar::new(),
            work: Notify::new(),
        }
    }

    /// Adds a frame; blocks while the tenant's share of the queue is full. For render threads only.
    pub fn push(&self, job: Arc<FrameJob>, cancelled: &dyn Fn() -> bool) -> Result<(), PushError> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return Err(PushError::Closed);
            }
            if cancelled() {
                return Err(PushError::Cancelled);
            }
            if state.waiting.len_of(&job.tenant) < state.capacity_per_tenant {
                break;
            }
            state = self.room.wait_timeout(state, CANCEL_POLL).expect(NOT_POISONED).0;
        }
        let (tenant, weight, age, estimate) = (job.tenant, job.weight, age_of(job.export), job.estimate);
        state.waiting.push(tenant, weight, age, estimate, job);
        drop(state);
        self.work.notify_waiters();
        Ok(())
    }

    /// The next batch for a device; waits until there is one. Safe to drop at any await: nothing is lost.
    pub async fn next(&self, wanted: &Wanted) -> Vec<Arc<FrameJob>> {
        loop {
            let notified = self.work.notified();
            tokio::pin!(notified);
            // Registered before looking, so that a push between the look and the wait is not missed.
            notified.as_mut().enable();
            let batch = self.try_next(wanted);
            if !batch.is_empty() {
                return batch;
            }
            // Nobody is notified when a frame that was left to others may be tried here again.
            let _ = tokio::time::timeout(OTHERS_FIRST / 2, notified).await;
        }
    }

    fn try_next(&self, wanted: &Wanted) -> Vec<Arc<FrameJob>> {
        let eligible = |job: &Arc<FrameJob>| {
            wanted.class == job.task.profile.class && (wanted.alone || !job.left_to_others(&wanted.device))
        };
        let batch = lock(&self.state).waiting.pop(wanted.max, eligible, |a, b| a.alike(b), |job| job.is_dead());
        if !batch.is_empty() {
            self.room.notify_all();
        }
        batch
    }

    /// Takes back frames a device could not serve: each waits for another try, or its requester is told.
    pub fn give_back(&self, jobs: Vec<Arc<FrameJob>>, fault: &DeviceFault) {
        for job in jobs {
            if !job.is_dead() && job.may_retry(fault.clone()) {
                self.put_front(job);
            }
        }
        self.work.notify_waiters();
    }

    /// Takes back frames a device never began: no try is counted.
    pub fn put_back(&self, jobs: Vec<Arc<FrameJob>>) {
        for job in jobs {
            self.put_front(job);
        }
        self.work.notify_waiters();
    }

    fn put_front(&self, job: Arc<FrameJob>) {
        let (tenant, weight, age, estimate) = (job.tenant, job.weight, age_of(job.export), job.estimate);
        lock(&self.state).waiting.push_front(tenant, weight, age, estimate, job);
    }

    /// Number of frames that wait.
    pub fn len(&self) -> usize {
        lock(&self.state).waiting.len()
    }

    /// Whether no frame waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses further frames and wakes everybody who waits to push one.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.room.notify_all();
    }
}

/// Ids are UUIDv7: they sort by age.
fn age_of(export: ExportId) -> u128 {
    export.uuid().as_u128()
}

const NOT_POISONED: &str = "no code panics while it holds this lock";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect(NOT_POISONED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(tenant: TenantId) -> (Arc<FrameJob>, oneshot::Receiver<Result<Served, DeviceFault>>) {
        let task = Task { kind: TaskKind::Upscale, profile: Arc::new(ModelProfile::simulated("net")) };
        FrameJob::new(tenant, 1.0, ExportId::new(), task, Arc::new(RgbImage::new(2, 2)), 0.1)
    }

    fn wanted(device: &str, alone: bool) -> Wanted {
        Wanted { device: device.into(), class: DeviceClass::Sim, max: 1, alone }
    }

    fn fault(device: &str) -> DeviceFault {
        DeviceFault { device: device.into(), reason: "made up".into() }
    }

    #[tokio::test]
    async fn a_waiting_device_is_woken_by_a_push() {
        let queue = Arc::new(FrameQueue::new(4, 0.1));
        let waiter = {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { queue.next(&wanted("cpu:0", true)).await.len() })
        };
        tokio::task::yield_now().await;
        let (work, _answer) = job(TenantId::new());
        queue.push(work, &|| false).unwrap();
        assert_eq!(waiter.await.unwrap(), 1);
    }

    #[test]
    fn a_full_share_blocks_until_cancelled_and_leaves_other_tenants_room() {
        let queue = FrameQueue::new(1, 0.1);
        let tenant = TenantId::new();
        let (first, _keep) = job(tenant);
        queue.push(first, &|| false).unwrap();
        let (second, _keep) = job(tenant);
        assert_eq!(queue.push(second, &|| true), Err(PushError::Cancelled));
        let (other, _keep) = job(TenantId::new());
        queue.push(other, &|| false).unwrap();
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn a_failed_frame_goes_to_another_device_and_is_reported_after_three_tries() {
        let queue = FrameQueue::new(4, 0.1);
        let (work, mut answer) = job(TenantId::new());
        queue.push(work, &|| false).unwrap();
        let first = queue.try_next(&wanted("cpu:0", false));
        queue.give_back(first, &fault("cpu:0"));
        assert!(queue.try_next(&wanted("cpu:0", false)).is_empty(), "cpu:0 failed on it");
        for _ in 0..2 {
            let again = queue.try_next(&wanted("cpu:1", true));
            assert_eq!(again.len(), 1);
            queue.give_back(again, &fault("cpu:1"));
        }
        assert!(answer.try_recv().unwrap().is_err());
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn a_frame_on_which_every_device_failed_once_is_still_tried_and_answered() {
        let queue = FrameQueue::new(4, 0.1);
        let (work, mut answer) = job(TenantId::new());
        queue.push(work, &|| false).unwrap();
        for device in ["sim:0", "sim:1", "sim:0"] {
            let batch = queue.next(&wanted(device, false)).await;
            queue.give_back(batch, &fault(device));
        }
        assert!(answer.try_recv().unwrap().is_err());
    }

    #[test]
    fn only_a_device_of_the_profiles_class_gets_the_frame() {
        let queue = FrameQueue::new(4, 0.1);
        let (work, _answer) = job(TenantId::new());
        queue.push(work, &|| false).unwrap();
        let cpu = Wanted { device: "cpu:0".into(), class: DeviceClass::Cpu, max: 1, alone: true };
        assert!(queue.try_next(&cpu).is_empty());
        assert_eq!(queue.try_next(&wanted("sim:0", true)).len(), 1);
    }

    #[test]
    fn a_cancelled_frame_never_reaches_a_device() {
        let queue = FrameQueue::new(4, 0.1);
        let (work, answer) = job(TenantId::new());
        queue.push(work, &|| false).unwrap();
        drop(answer);
        assert!(queue.try_next(&wanted("cpu:0", true)).is_empty());
        assert!(queue.is_empty());
    }
}
