//! The frames that wait: single frames first, then each tenant's exports in the order of the [shares](crate::inference::queue::fair_share).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use entities::TenantId;

use super::job::{FrameJob, Lane};
use super::{ReadyDevices, Wanted};
use crate::inference::queue::fair_share::FairShare;

/// Pure bookkeeping: no lock, no waiting. [`super::FrameQueue`] wraps it.
pub struct Waiting {
    pub shares: FairShare<TenantId>,
    interactive: VecDeque<Arc<FrameJob>>,
    tenants: HashMap<TenantId, Exports>,
}

/// What one tenant's exports have waiting, oldest export first; within one, first come first served.
#[derive(Default)]
struct Exports {
    by_age: BTreeMap<u128, VecDeque<Arc<FrameJob>>>,
    len: usize,
}

/// What one tenant has waiting.
#[derive(Debug, Clone, Copy, Default)]
pub struct Depth {
    pub batch: usize,
    pub interactive: usize,
    /// Since when the oldest waits.
    pub oldest: Duration,
}

impl Waiting {
    pub fn new(credit: f64) -> Self {
        Self { shares: FairShare::new(credit), interactive: VecDeque::new(), tenants: HashMap::new() }
    }

    /// Number of frames that wait.
    pub fn len(&self) -> usize {
        self.interactive.len() + self.tenants.values().map(|exports| exports.len).sum::<usize>()
    }

    /// Number of frames of a tenant's exports that wait.
    pub fn len_of(&self, tenant: TenantId) -> usize {
        self.tenants.get(&tenant).map_or(0, |exports| exports.len)
    }

    /// Adds a frame behind the others of its export.
    pub fn push(&mut self, job: Arc<FrameJob>) {
        if job.lane == Lane::Interactive {
            return self.interactive.push_back(job);
        }
        self.queue_of(&job).push_back(job);
    }

    /// Puts back a frame that was handed out and not served, ahead of the others.
    pub fn return_unstarted(&mut self, job: Arc<FrameJob>) {
        self.shares.refund(job.tenant, job.estimate);
        if job.lane == Lane::Interactive {
            return self.interactive.push_front(job);
        }
        self.queue_of(&job).push_front(job);
    }

    fn queue_of(&mut self, job: &FrameJob) -> &mut VecDeque<Arc<FrameJob>> {
        let shares = &mut self.shares;
        let exports = self.tenants.entry(job.tenant).or_insert_with(|| {
            shares.arrive(job.tenant);
            Exports::default()
        });
        exports.len += 1;
        exports.by_age.entry(job.age()).or_default()
    }

    /// The next batch for a device: a single frame if one waits, else of the tenant whose turn it is.
    pub fn take(&mut self, wanted: &Wanted, ready: &ReadyDevices) -> Vec<Arc<FrameJob>> {
        let urgent = self.take_interactive(wanted, ready);
        if !urgent.is_empty() {
            return urgent;
        }
        self.drop_dead();
        let heads =
            self.tenants.iter().filter_map(|(tenant, exports)| Some((*tenant, exports.head(wanted, ready)?.queued)));
        let tag = |tenant: &TenantId| self.shares.tag(tenant);
        // Of equals the one that has waited longest.
        let next = heads.min_by(|(a, since_a), (b, since_b)| tag(a).total_cmp(&tag(b)).then(since_a.cmp(since_b)));
        let Some((tenant, _)) = next else { return Vec::new() };
        let Some(exports) = self.tenants.get_mut(&tenant) else { return Vec::new() };
        let batch = exports.take(wanted, ready);
        if exports.len == 0 {
            self.tenants.remove(&tenant);
        }
        self.charge(&batch);
        batch
    }

    fn take_interactive(&mut self, wanted: &Wanted, ready: &ReadyDevices) -> Vec<Arc<FrameJob>> {
        self.interactive.retain(|job| !job.is_dead());
        let mut batch = Vec::new();
        take_alike(&mut self.interactive, wanted, ready, &mut batch);
        self.charge(&batch);
        batch
    }

    fn charge(&mut self, batch: &[Arc<FrameJob>]) {
        for job in batch {
            self.shares.charge(job.tenant, job.estimate);
        }
    }

    fn drop_dead(&mut self) {
        for exports in self.tenants.values_mut() {
            exports.by_age.values_mut().for_each(|queue| queue.retain(|job| !job.is_dead()));
            exports.drop_empty();
        }
        self.tenants.retain(|_, exports| exports.len > 0);
    }

    /// What each tenant has waiting at `now`.
    pub fn depths(&self, now: Instant) -> HashMap<TenantId, Depth> {
        let mut depths: HashMap<TenantId, Depth> = HashMap::new();
        let batch = self.tenants.values().flat_map(|exports| exports.by_age.values().flatten());
        for job in batch.chain(&self.interactive) {
            let depth = depths.entry(job.tenant).or_default();
            match job.lane {
                Lane::Batch => depth.batch += 1,
                Lane::Interactive => depth.interactive += 1,
            }
            depth.oldest = depth.oldest.max(now.saturating_duration_since(job.queued));
        }
        depths
    }
}

impl Exports {
    /// The first frame that the device may have, oldest export first.
    fn head(&self, wanted: &Wanted, ready: &ReadyDevices) -> Option<&Arc<FrameJob>> {
        self.by_age.values().flatten().find(|job| job.suits(wanted, ready))
    }

    fn take(&mut self, wanted: &Wanted, ready: &ReadyDevices) -> Vec<Arc<FrameJob>> {
        let mut batch = Vec::new();
        for queue in self.by_age.values_mut() {
            take_alike(queue, wanted, ready, &mut batch);
        }
        self.drop_empty();
        batch
    }

    fn drop_empty(&mut self) {
        self.by_age.retain(|_, queue| !queue.is_empty());
        self.len = self.by_age.values().map(VecDeque::len).sum();
    }
}

/// Moves frames that the device may have and that are alike into `batch`, until it is full.
fn take_alike(
    queue: &mut VecDeque<Arc<FrameJob>>,
    wanted: &Wanted,
    ready: &ReadyDevices,
    batch: &mut Vec<Arc<FrameJob>>,
) {
    let mut index = 0;
    while index < queue.len() && batch.len() < wanted.max {
        let candidate = &queue[index];
        if candidate.suits(wanted, ready) && batch.first().is_none_or(|first| first.alike(candidate)) {
            batch.extend(queue.remove(index));
        } else {
            index += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use edits::RgbImage;
    use entities::ExportId;

    use super::*;
    use crate::inference::profile::{DeviceClass, ModelProfile};
    use crate::inference::queue::{Task, TaskKind};

    /// Frames whose answers keep their receivers while the test runs.
    #[derive(Default)]
    struct Frames(Vec<Box<dyn std::any::Any>>);

    impl Frames {
        fn of(&mut self, tenant: TenantId, export: ExportId, model: &str) -> Arc<FrameJob> {
            let task = Task { kind: TaskKind::Upscale, profile: Arc::new(ModelProfile::simulated(model)) };
            let (job, answer) = FrameJob::new(tenant, export, task, Arc::new(RgbImage::new(2, 2)), 1.0);
            self.0.push(Box::new(answer));
            job
        }
    }

    fn take(waiting: &mut Waiting, max: usize) -> Vec<Arc<FrameJob>> {
        let wanted = Wanted { device: "sim:0".into(), class: DeviceClass::Sim, max };
        waiting.take(&wanted, &ReadyDevices::new())
    }

    fn models(batch: &[Arc<FrameJob>]) -> Vec<&str> {
        batch.iter().map(|job| job.task.profile.model.as_str()).collect()
    }

    #[test]
    fn equal_tenants_alternate_whatever_one_of_them_queued() {
        let (mut waiting, mut frames) = (Waiting::new(1.0), Frames::default());
        let (many, few, export) = (TenantId::new(), TenantId::new(), ExportId::new());
        (0..50).for_each(|_| waiting.push(frames.of(many, export, "m")));
        (0..5).for_each(|_| waiting.push(frames.of(few, export, "m")));
        let served: Vec<_> = (0..10).flat_map(|_| take(&mut waiting, 1)).collect();
        assert_eq!(served.iter().filter(|job| job.tenant == few).count(), 5);
    }

    #[test]
    fn older_exports_of_a_tenant_go_first() {
        let (mut waiting, mut frames) = (Waiting::new(1.0), Frames::default());
        let (tenant, old, young) = (TenantId::new(), ExportId::new(), ExportId::new());
        waiting.push(frames.of(tenant, young, "young"));
        waiting.push(frames.of(tenant, old, "old"));
        assert_eq!(models(&take(&mut waiting, 1)), ["old"]);
        assert_eq!(models(&take(&mut waiting, 1)), ["young"]);
        assert!(take(&mut waiting, 1).is_empty());
    }

    #[test]
    fn a_batch_holds_only_alike_frames() {
        let (mut waiting, mut frames) = (Waiting::new(1.0), Frames::default());
        let (tenant, export) = (TenantId::new(), ExportId::new());
        for model in ["a", "b", "a", "c", "a"] {
            waiting.push(frames.of(tenant, export, model));
        }
        assert_eq!(models(&take(&mut waiting, 2)), ["a", "a"]);
        assert_eq!(models(&take(&mut waiting, 4)), ["b"]);
        assert_eq!(waiting.len(), 2);
    }

    #[test]
    fn what_was_put_back_comes_first_and_was_not_charged() {
        let (mut waiting, mut frames) = (Waiting::new(1.0), Frames::default());
        let (tenant, export) = (TenantId::new(), ExportId::new());
        waiting.push(frames.of(tenant, export, "first"));
        waiting.push(frames.of(tenant, export, "second"));
        let taken = take(&mut waiting, 1);
        taken.into_iter().for_each(|job| waiting.return_unstarted(job));
        assert_eq!(waiting.shares.tag(&tenant), 0.0);
        assert_eq!(models(&take(&mut waiting, 1)), ["first"]);
        assert_eq!(waiting.depths(Instant::now())[&tenant].batch, 1);
    }
}
