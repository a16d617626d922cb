//! Where frames wait for a device.
//!
//! A shared bounded structure and not a mailbox: render threads block while their tenant's share is full
//! (back-pressure reaches the decoder), supervisors await the next batch. Order is by
//! [deficit round robin](drr) over tenants, then by the export's age.

mod drr;

use std::collections::BTreeMap;
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
    /// The devices that failed on it, one entry a try.
    failed_on: Mutex<Vec<Arc<str>>>,
}

/// A frame is tried this often before its segment is told.
const TRIES: usize = 3;
/// All of these may have met a broken device: while a device is left that is ready and has not tried the frame, it
/// may, up to so many tries. More would let one poisonous frame break every device.
const MOST_TRIES: usize = 6;

/// How often a waiting device looks again, whatever it was told.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

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
        let failed_on = Mutex::new(Vec::new());
        let reply = Mutex::new(Some(reply));
        (Arc::new(Self { tenant, weight, export, task, image, estimate, reply, failed_on }), answer)
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
    fn may_retry(&self, fault: &DeviceFault, ready: &ReadyDevices) -> bool {
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

    /// Whether the frame is for others to try: a device failed on it before, and another one is ready that did not.
    /// Devices that are not ready themselves get no frame that was unlucky already.
    fn left_to_others(&self, device: &str, ready: &ReadyDevices) -> bool {
        let unlucky = {
            let failed_on = lock(&self.failed_on);
            let here = failed_on.iter().any(|failed| **failed == *device);
            here || (!failed_on.is_empty() && !ready.contains_key(device))
        };
        unlucky && self.another_is_ready(ready)
    }

    /// Whether a device is ready for the frame that has not failed on it.
    fn another_is_ready(&self, ready: &ReadyDevices) -> bool {
        let failed_on = lock(&self.failed_on);
        let fits = |(device, class): (&Arc<str>, &DeviceClass)| {
            *class == self.task.profile.class && !failed_on.contains(device)
        };
        ready.iter().any(fits)
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
}

/// The devices that are ready, with their classes.
type ReadyDevices = BTreeMap<Arc<str>, DeviceClass>;

struct State {
    waiting: DeficitRoundRobin<TenantId, Arc<FrameJob>>,
    capacity_per_tenant: usize,
    ready: ReadyDevices,
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
                ready: ReadyDevices::new(),
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
            // The safety net under the wake-ups.
            let _ = tokio::time::timeout(LOOK_AGAIN, notified).await;
        }
    }

    fn try_next(&self, wanted: &Wanted) -> Vec<Arc<FrameJob>> {
        let mut state = lock(&self.state);
        let State { waiting, ready, .. } = &mut *state;
        let eligible =
            |job: &Arc<FrameJob>| wanted.class == job.task.profile.class && !job.left_to_others(&wanted.device, ready);
        let batch = waiting.pop(wanted.max, eligible, |a, b| a.alike(b), |job| job.is_dead());
        drop(state);
        if !batch.is_empty() {
            self.room.notify_all();
        }
        batch
    }

    /// Takes back frames a device could not serve: each waits for another try, or its requester is told.
    pub fn give_back(&self, jobs: Vec<Arc<FrameJob>>, fault: &DeviceFault) {
        let ready = lock(&self.state).ready.clone();
        for job in jobs {
            if !job.is_dead() && job.may_retry(fault, &ready) {
                self.put_front(job);
            }
        }
        self.work.notify_waiters();
    }

    /// Hears whether a device can be relied on: frames that failed elsewhere wait for such a one.
    pub fn set_ready(&self, device: &Arc<str>, class: DeviceClass, is_ready: bool) {
        let known = &mut lock(&self.state).ready;
        let was_ready = known.contains_key(device);
        if is_ready {
            known.insert(Arc::clone(device), class);
        } else {
            known.remove(device);
        }
        if was_ready != is_ready {
            self.work.notify_waiters();
        }
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

    fn wanted(device: &str) -> Wanted {
        Wanted { device: device.into(), class: DeviceClass::Sim, max: 1 }
    }

    fn ready(queue: &FrameQueue, devices: &[&str]) {
        devices.iter().for_each(|device| queue.set_ready(&(*device).into(), DeviceClass::Sim, true));
    }

    fn fault(device: &str) -> DeviceFault {
        DeviceFault { device: device.into(), reason: "made up".into() }
    }

    #[tokio::test]
    async fn a_waiting_device_is_woken_by_a_push() {
        let queue = Arc::new(FrameQueue::new(4, 0.1));
        let waiter = {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { queue.next(&wanted("cpu:0")).await.len() })
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
    fn a_failed_frame_goes_to_another_device_that_is_ready() {
        let queue = FrameQueue::new(4, 0.1);
        ready(&queue, &["sim:0", "sim:1"]);
        let (work, _answer) = job(TenantId::new());
        queue.push(work, &|| false).unwrap();
        let first = queue.try_next(&wanted("sim:0"));
        queue.give_back(first, &fault("sim:0"));
        assert!(queue.try_next(&wanted("sim:0")).is_empty(), "it failed on it");
        assert!(queue.try_next(&wanted("sim:2")).is_empty(), "it is not ready itself");
        queue.set_ready(&"sim:1".into(), DeviceClass::Sim, false);
        assert_eq!(queue.try_next(&wanted("sim:0")).len(), 1, "nobody else is ready");
    }

    #[test]
    fn a_frame_that_fails_on_every_device_is_reported() {
        let queue = FrameQueue::new(4, 0.1);
        ready(&queue, &["sim:0", "sim:1"]);
        let (work, mut answer) = job(TenantId::new());
        queue.push(work, &|| false).unwrap();
        for device in ["sim:0", "sim:1", "sim:0"] {
            assert!(answer.try_recv().is_err());
            let batch = queue.try_next(&wanted(device));
            assert_eq!(batch.len(), 1);
            queue.give_back(batch, &fault(device));
        }
        assert!(answer.try_recv().unwrap().is_err());
        assert!(queue.is_empty());
    }

    #[test]
    fn three_broken_devices_do_not_use_up_a_frames_tries_but_a_poisonous_one_ends() {
        let queue = FrameQueue::new(4, 0.1);
        let devices: Vec<String> = (0..8).map(|n| format!("sim:{n}")).collect();
        ready(&queue, &devices.iter().map(String::as_str).collect::<Vec<_>>());
        let (work, mut answer) = job(TenantId::new());
        queue.push(work, &|| false).unwrap();
        for device in &devices[..MOST_TRIES] {
            assert!(answer.try_recv().is_err());
            let batch = queue.try_next(&wanted(device));
            assert_eq!(batch.len(), 1, "{device} has not tried it");
            queue.give_back(batch, &fault(device));
        }
        assert!(answer.try_recv().unwrap().is_err());
    }

    #[tokio::test]
    async fn a_frame_left_to_others_is_offered_again_when_none_is_ready_any_more() {
        let queue = Arc::new(FrameQueue::new(4, 0.1));
        ready(&queue, &["sim:0", "sim:1"]);
        let (work, _answer) = job(TenantId::new());
        queue.push(work, &|| false).unwrap();
        queue.give_back(queue.try_next(&wanted("sim:0")), &fault("sim:0"));
        let waiter = {
            let queue = Arc::clone(&queue);
            tokio::spawn(async move { queue.next(&wanted("sim:0")).await.len() })
        };
        tokio::task::yield_now().await;
        assert!(!waiter.is_finished());
        queue.set_ready(&"sim:1".into(), DeviceClass::Sim, false);
        assert_eq!(waiter.await.unwrap(), 1);
    }

    #[test]
    fn only_a_device_of_the_profiles_class_gets_the_frame() {
        let queue = FrameQueue::new(4, 0.1);
        let (work, _answer) = job(TenantId::new());
        queue.push(work, &|| false).unwrap();
        let cpu = Wanted { device: "cpu:0".into(), class: DeviceClass::Cpu, max: 1 };
        assert!(queue.try_next(&cpu).is_empty());
        assert_eq!(queue.try_next(&wanted("sim:0")).len(), 1);
    }

    #[test]
    fn a_cancelled_frame_never_reaches_a_device() {
        let queue = FrameQueue::new(4, 0.1);
        let (work, answer) = job(TenantId::new());
        queue.push(work, &|| false).unwrap();
        drop(answer);
        assert!(queue.try_next(&wanted("cpu:0")).is_empty());
        assert!(queue.is_empty());
    }
}
