//! Where frames wait for a device.
//!
//! A shared bounded structure and not a mailbox: render threads block while their tenant's share is full
//! (back-pressure reaches the decoder), supervisors await the next batch. Order is by [fair share](fair_share) over
//! tenants, then by the export's age. A single frame that a person waits for goes first within its tenant's turns, and
//! never before another tenant's.

pub(crate) mod fair_share;
mod job;
mod observe;
mod waiting;

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use entities::TenantId;
use tokio::sync::Notify;

use crate::inference::profile::DeviceClass;
pub use job::{DeviceFault, FrameJob, Held, Lane, Output, Served, Task, TaskKind};
pub use observe::{TenantQueue, describe, observe};
use waiting::Waiting;

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
    waiting: Waiting,
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

/// How often a blocked push checks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// Upper bound of a wait for work: a lost wake-up costs at most this.
const WAIT_TIMEOUT: Duration = Duration::from_millis(500);

impl FrameQueue {
    /// `capacity_per_tenant`: frames of one tenant's exports that may wait; `credit`: device seconds by which a tenant
    /// may lag behind and still catch up.
    pub fn new(capacity_per_tenant: usize, credit: f64) -> Self {
        Self {
            state: Mutex::new(State {
                waiting: Waiting::new(credit),
                capacity_per_tenant: capacity_per_tenant.max(1),
                ready: ReadyDevices::new(),
                closed: false,
            }),
            room: Condvar::new(),
            work: Notify::new(),
        }
    }

    /// Adds a frame of an export; blocks while the tenant's share of the queue is full. For render threads only.
    pub fn push(&self, job: Arc<FrameJob>, cancelled: &dyn Fn() -> bool) -> Result<(), PushError> {
        let mut state = lock(&self.state);
        loop {
            if state.closed {
                return Err(PushError::Closed);
            }
            if cancelled() {
                return Err(PushError::Cancelled);
            }
            if state.waiting.len_of(job.tenant) < state.capacity_per_tenant {
                break;
            }
            state = self.room.wait_timeout(state, CANCEL_POLL).expect(NOT_POISONED).0;
        }
        state.waiting.push(job);
        drop(state);
        self.work.notify_waiters();
        Ok(())
    }

    /// Adds a frame that a person waits for. Does not block: the permits of single frames bound their number.
    pub fn push_interactive(&self, job: Arc<FrameJob>) -> Result<(), PushError> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(PushError::Closed);
        }
        state.waiting.push(job);
        drop(state);
        self.work.notify_waiters();
        Ok(())
    }

    /// Clears the queue of frames whose requesters have gone when the guard is dropped. Without it they would keep what
    /// they hold until a device asks for work.
    pub fn cleared_at_end(&self) -> ClearedAtEnd<'_> {
        ClearedAtEnd(self)
    }

    /// The next batch for a device; waits until there is one. Safe to drop at any await: nothing is lost.
    pub async fn next(&self, wanted: &Wanted) -> Vec<Arc<FrameJob>> {
        loop {
            let notified = self.work.notified();
            tokio::pin!(notified);
            // Registered before the queue is read, so that a push between the read and the wait is not missed.
            notified.as_mut().enable();
            let batch = self.try_next(wanted);
            if !batch.is_empty() {
                return batch;
            }
            let _ = tokio::time::timeout(WAIT_TIMEOUT, notified).await;
        }
    }

    fn try_next(&self, wanted: &Wanted) -> Vec<Arc<FrameJob>> {
        let batch = {
            let State { waiting, ready, .. } = &mut *lock(&self.state);
            waiting.take(wanted, ready)
        };
        if !batch.is_empty() {
            self.room.notify_all();
        }
        batch
    }

    /// Corrects the account of `tenant`: what was estimated at `estimate` device seconds took `actual`.
    pub fn reconcile(&self, tenant: TenantId, estimate: f64, actual: f64) {
        lock(&self.state).waiting.shares.reconcile(tenant, estimate, actual);
        metrics::gauge!("touchline_tenant_device_seconds", "tenant" => tenant.to_string()).increment(actual);
    }

    /// Sets a tenant's share of the devices, from the next batch on.
    pub fn weigh(&self, tenant: TenantId, weight: f64) {
        lock(&self.state).waiting.shares.weigh(tenant, weight);
    }

    /// Takes back frames a device could not serve: each waits for another try, or the fault is sent to its requester.
    pub fn return_failed(&self, jobs: Vec<Arc<FrameJob>>, fault: &DeviceFault) {
        let ready = lock(&self.state).ready.clone();
        for job in jobs {
            if !job.is_dead() && job.may_retry(fault, &ready) {
                self.put_front(job);
            }
        }
        self.work.notify_waiters();
    }

    /// Records whether a device is ready: frames that failed elsewhere wait for one that is.
    pub fn set_ready(&self, device: &Arc<str>, class: DeviceClass, is_ready: bool) {
        let ready = &mut lock(&self.state).ready;
        let was_ready = ready.contains_key(device);
        if is_ready {
            ready.insert(Arc::clone(device), class);
        } else {
            ready.remove(device);
        }
        if was_ready != is_ready {
            self.work.notify_waiters();
        }
    }

    /// Whether no device is ready now: waiting for one is no stall then.
    pub fn is_deserted(&self) -> bool {
        lock(&self.state).ready.is_empty()
    }

    /// Takes back frames a device never began: no try is counted.
    pub fn return_unstarted(&self, jobs: Vec<Arc<FrameJob>>) {
        for job in jobs {
            self.put_front(job);
        }
        self.work.notify_waiters();
    }

    fn put_front(&self, job: Arc<FrameJob>) {
        lock(&self.state).waiting.return_unstarted(job);
    }

    /// Number of frames that wait.
    pub fn len(&self) -> usize {
        lock(&self.state).waiting.len()
    }

    /// Whether no frame waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses further frames and wakes every thread that waits to push one.
    pub fn close(&self) {
        lock(&self.state).closed = true;
        self.room.notify_all();
    }
}

/// See [`FrameQueue::cleared_at_end`].
pub struct ClearedAtEnd<'a>(&'a FrameQueue);

impl Drop for ClearedAtEnd<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).waiting.drop_dead();
    }
}

const NOT_POISONED: &str = "no code panics while it holds this lock";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect(NOT_POISONED)
}

#[cfg(test)]
mod tests {
    use edits::RgbImage;
    use entities::ExportId;
    use tokio::sync::oneshot;

    use super::job::MOST_TRIES;
    use super::*;
    use crate::inference::profile::ModelProfile;

    fn job(tenant: TenantId) -> (Arc<FrameJob>, oneshot::Receiver<Result<Served, DeviceFault>>) {
        let task = Task { kind: TaskKind::Upscale, profile: Arc::new(ModelProfile::simulated("net")) };
        FrameJob::new(tenant, ExportId::new(), task, Arc::new(RgbImage::new(2, 2)), 0.1)
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
        assert!(queue.is_deserted());
        ready(&queue, &["sim:0", "sim:1"]);
        let (work, _answer) = job(TenantId::new());
        queue.push(work, &|| false).unwrap();
        let first = queue.try_next(&wanted("sim:0"));
        queue.return_failed(first, &fault("sim:0"));
        assert!(queue.try_next(&wanted("sim:0")).is_empty(), "it failed on it");
        assert!(queue.try_next(&wanted("sim:2")).is_empty(), "it is not ready itself");
        queue.set_ready(&"sim:1".into(), DeviceClass::Sim, false);
        assert_eq!(queue.try_next(&wanted("sim:0")).len(), 1, "no other device is ready");
    }

    #[test]
    fn frames_of_a_failed_batch_are_tried_one_by_one() {
        let queue = FrameQueue::new(4, 0.1);
        let tenant = TenantId::new();
        let kept: Vec<_> = [tenant, tenant, tenant].map(job).into();
        kept.iter().for_each(|(work, _)| queue.push(Arc::clone(work), &|| false).unwrap());
        let two = Wanted { max: 2, ..wanted("sim:0") };
        let first = queue.try_next(&two);
        assert_eq!(first.len(), 2);
        queue.return_failed(first, &fault("sim:0"));
        let sizes: Vec<_> = (0..3).map(|_| queue.try_next(&two).len()).collect();
        assert_eq!(sizes, [1, 1, 1]);
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
            queue.return_failed(batch, &fault(device));
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
            queue.return_failed(batch, &fault(device));
        }
        assert!(answer.try_recv().unwrap().is_err());
    }

    #[tokio::test]
    async fn a_frame_left_to_others_is_offered_again_when_none_is_ready_any_more() {
        let queue = Arc::new(FrameQueue::new(4, 0.1));
        ready(&queue, &["sim:0", "sim:1"]);
        let (work, _answer) = job(TenantId::new());
        queue.push(work, &|| false).unwrap();
        queue.return_failed(queue.try_next(&wanted("sim:0")), &fault("sim:0"));
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

    #[test]
    fn a_person_goes_before_the_same_tenants_full_queue_and_pays_for_it() {
        let queue = FrameQueue::new(2, 0.1);
        let (tenant, other) = (TenantId::new(), TenantId::new());
        let kept: Vec<_> = [tenant, tenant, other].map(job).into();
        kept.iter().for_each(|(work, _)| queue.push(Arc::clone(work), &|| false).unwrap());
        let task = Task { kind: TaskKind::Detect, profile: Arc::new(ModelProfile::simulated("detector")) };
        let (single, _answer) = FrameJob::interactive(tenant, task, Arc::new(RgbImage::new(2, 2)), 0.1, Arc::new(()));
        queue.push_interactive(single).unwrap();
        assert!(queue.try_next(&Wanted { class: DeviceClass::Cpu, ..wanted("cpu:0") }).is_empty());
        assert_eq!(queue.try_next(&wanted("sim:0"))[0].lane, Lane::Interactive);
        assert_eq!(queue.try_next(&wanted("sim:0"))[0].tenant, other, "the single frame was the tenant's turn");
    }

    #[test]
    fn the_snapshot_shows_what_waits_and_what_was_served() {
        let queue = FrameQueue::new(4, 0.1);
        let tenant = TenantId::new();
        let (work, _answer) = job(tenant);
        queue.weigh(tenant, 2.0);
        queue.push(work, &|| false).unwrap();
        queue.reconcile(tenant, 0.1, 0.3);
        let shown = queue.snapshot();
        assert_eq!((shown.len(), shown[0].tenant, shown[0].frames, shown[0].interactive), (1, tenant, 1, 0));
        assert_eq!((shown[0].weight, shown[0].device_seconds), (2.0, 0.3));
    }

    #[test]
    fn a_push_beyond_the_tenants_capacity_waits_until_it_is_cancelled() {
        let queue = FrameQueue::new(2, 0.1);
        let (tenant, other) = (TenantId::new(), TenantId::new());
        let kept: Vec<_> = [tenant, tenant, tenant, other].map(job).into();
        kept[..2].iter().for_each(|(work, _)| queue.push(Arc::clone(work), &|| false).unwrap());
        let asked = std::cell::Cell::new(0);
        let cancelled = || asked.replace(asked.get() + 1) > 0;
        assert_eq!(queue.push(Arc::clone(&kept[2].0), &cancelled), Err(PushError::Cancelled));
        queue.push(Arc::clone(&kept[3].0), &|| false).unwrap();
        assert_eq!(queue.len(), 3);
    }

    #[test]
    fn returned_frames_wait_in_the_lane_they_came_from() {
        let queue = FrameQueue::new(4, 0.1);
        let tenant = TenantId::new();
        let kept: Vec<_> = [tenant, tenant].map(job).into();
        kept.iter().for_each(|(work, _)| queue.push(Arc::clone(work), &|| false).unwrap());
        let task = Task { kind: TaskKind::Upscale, profile: Arc::new(ModelProfile::simulated("net")) };
        let image = || Arc::new(RgbImage::new(2, 2));
        let singles: Vec<_> =
            (0..2).map(|_| FrameJob::interactive(tenant, task.clone(), image(), 0.1, Arc::new(()))).collect();
        singles.iter().for_each(|(single, _)| queue.push_interactive(Arc::clone(single)).unwrap());
        let shown =
            |queue: &FrameQueue| queue.snapshot().iter().map(|of| (of.frames, of.interactive)).collect::<Vec<_>>();
        assert_eq!(shown(&queue), [(2, 2)]);
        let taken = queue.try_next(&wanted("sim:0"));
        assert!(taken.iter().all(|job| job.lane == Lane::Interactive));
        queue.return_unstarted(taken);
        assert_eq!(shown(&queue), [(2, 2)]);
    }

    #[test]
    fn a_tenant_whose_frames_were_all_cancelled_was_idle() {
        let queue = FrameQueue::new(100, 0.1);
        let (busy, other) = (TenantId::new(), TenantId::new());
        let (cancelled, answer) = job(other);
        queue.push(cancelled, &|| false).unwrap();
        drop(answer);
        let mut kept = Vec::new();
        let mut push = |tenant| {
            let (work, answer) = job(tenant);
            kept.push(answer);
            queue.push(work, &|| false).unwrap();
        };
        let one = Wanted { max: 1, ..wanted("sim:0") };
        for _ in 0..50 {
            push(busy);
            assert_eq!(queue.try_next(&one)[0].tenant, busy);
        }
        (0..5).for_each(|_| [busy, other].into_iter().for_each(&mut push));
        let others = (0..4).filter(|_| queue.try_next(&one)[0].tenant == other).count();
        assert_eq!(others, 2, "its turns of the time before do not count");
    }

    #[test]
    fn what_a_lookup_holds_is_kept_while_a_device_has_it_and_not_while_it_waits_in_vain() {
        let queue = FrameQueue::new(4, 0.1);
        let permit = Arc::new(());
        let lookup = || {
            let task = Task { kind: TaskKind::Detect, profile: Arc::new(ModelProfile::simulated("detector")) };
            let held = Arc::clone(&permit) as Held;
            let (single, answer) =
                FrameJob::interactive(TenantId::new(), task, Arc::new(RgbImage::new(2, 2)), 0.1, held);
            let cleared = queue.cleared_at_end();
            queue.push_interactive(single).unwrap();
            (cleared, answer)
        };
        // The requester leaves while a device has the frame.
        let (cleared, answer) = lookup();
        let served = queue.try_next(&wanted("sim:0"));
        drop(answer);
        drop(cleared);
        assert_eq!(Arc::strong_count(&permit), 2);
        drop(served);
        assert_eq!(Arc::strong_count(&permit), 1);
        // It leaves while the frame waits.
        let (cleared, answer) = lookup();
        drop(answer);
        assert_eq!(Arc::strong_count(&permit), 2);
        drop(cleared);
        assert_eq!((Arc::strong_count(&permit), queue.len()), (1, 0));
        // It is answered: the requester may ask again before the supervisor has let go of the batch.
        let (_cleared, mut answer) = lookup();
        let served = queue.try_next(&wanted("sim:0"));
        served[0].answer(Err(fault("sim:0")));
        assert!(answer.try_recv().is_ok());
        assert_eq!(Arc::strong_count(&permit), 1);
    }
}
