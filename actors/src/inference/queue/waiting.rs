//! The frames that wait: tenants in the order of the [shares](crate::inference::queue::fair_share), within a tenant its
//! single frames first, then its exports. So that many people who look at single frames do not stop their tenant's exports,
//! which hold what other tenants could use, an export has its turn after some single frames.

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
    tenants: HashMap<TenantId, TenantFrames>,
}

/// What one tenant has waiting: single frames first come first served; exports oldest first, and within one first come
/// first served.
#[derive(Default)]
struct TenantFrames {
    interactive: VecDeque<Arc<FrameJob>>,
    by_age: BTreeMap<u128, VecDeque<Arc<FrameJob>>>,
    /// Turns that single frames had since an export had one.
    singles: u32,
}

/// Turns of a tenant that its single frames have before one of its exports.
const SINGLES: u32 = 3;

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
        Self { shares: FairShare::new(credit), tenants: HashMap::new() }
    }

    /// Number of frames that wait.
    pub fn len(&self) -> usize {
        self.tenants.values().map(|frames| frames.interactive.len() + frames.of_exports()).sum()
    }

    /// Number of frames of a tenant's exports that wait.
    pub fn len_of(&self, tenant: TenantId) -> usize {
        self.tenants.get(&tenant).map_or(0, TenantFrames::of_exports)
    }

    /// Adds a frame behind the others of its export, or of its tenant's single frames.
    pub fn push(&mut self, job: Arc<FrameJob>) {
        self.queue_of(&job).push_back(job);
    }

    /// Puts back a frame that was handed out and not served, ahead of the others.
    pub fn return_unstarted(&mut self, job: Arc<FrameJob>) {
        self.shares.refund(job.tenant, job.estimate);
        self.queue_of(&job).push_front(job);
    }

    fn queue_of(&mut self, job: &FrameJob) -> &mut VecDeque<Arc<FrameJob>> {
        let shares = &mut self.shares;
        let frames = self.tenants.entry(job.tenant).or_insert_with(|| {
            shares.arrive(job.tenant);
            TenantFrames::default()
        });
        match job.lane {
            Lane::Interactive => &mut frames.interactive,
            Lane::Batch => frames.by_age.entry(job.age()).or_default(),
        }
    }

    /// The next batch for a device, of the tenant whose turn it is: of its single frames if one waits, else of its
    /// exports. A single frame never takes another tenant's turn, so lookups cannot hold up other tenants' exports.
    pub fn take(&mut self, wanted: &Wanted, ready: &ReadyDevices) -> Vec<Arc<FrameJob>> {
        self.drop_dead();
        let waiting = self.tenants.iter().filter_map(|(tenant, frames)| Some((*tenant, frames.since(wanted, ready)?)));
        let tag = |tenant: &TenantId| self.shares.tag(tenant);
        // Of equals the one that has waited longest.
        let next = waiting.min_by(|(a, since_a), (b, since_b)| tag(a).total_cmp(&tag(b)).then(since_a.cmp(since_b)));
        let Some((tenant, _)) = next else { return Vec::new() };
        let Some(frames) = self.tenants.get_mut(&tenant) else { return Vec::new() };
        let batch = frames.take(wanted, ready);
        if frames.is_empty() {
            self.tenants.remove(&tenant);
        }
        for job in &batch {
            self.shares.charge(job.tenant, job.estimate);
        }
        batch
    }

    /// Removes frames whose requesters have gone.
    pub fn drop_dead(&mut self) {
        for frames in self.tenants.values_mut() {
            frames.interactive.retain(|job| !job.is_dead());
            frames.by_age.values_mut().for_each(|queue| queue.retain(|job| !job.is_dead()));
            frames.drop_empty();
        }
        self.tenants.retain(|_, frames| !frames.is_empty());
    }

    /// What each tenant has waiting at `now`.
    pub fn depths(&self, now: Instant) -> HashMap<TenantId, Depth> {
        let mut depths: HashMap<TenantId, Depth> = HashMap::new();
        for job in self.tenants.values().flat_map(TenantFrames::all) {
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

impl TenantFrames {
    fn all(&self) -> impl Iterator<Item = &Arc<FrameJob>> {
        self.interactive.iter().chain(self.by_age.values().flatten())
    }

    /// Number of frames of exports.
    fn of_exports(&self) -> usize {
        self.by_age.values().map(VecDeque::len).sum()
    }

    fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// Since when the tenant waits for such a device: by the first single frame and the first frame of exports that the
    /// device may have. `None` when it may have none.
    fn since(&self, wanted: &Wanted, ready: &ReadyDevices) -> Option<Instant> {
        let single = self.interactive.iter().find(|job| job.suits(wanted, ready));
        let export = self.by_age.values().flatten().find(|job| job.suits(wanted, ready));
        single.into_iter().chain(export).map(|job| job.queued).min()
    }

    /// Single frames that the device may have, [`SINGLES`] times in a row; then, or when there are none, frames of
    /// exports.
    fn take(&mut self, wanted: &Wanted, ready: &ReadyDevices) -> Vec<Arc<FrameJob>> {
        let mut batch = Vec::new();
        if self.singles < SINGLES {
            take_alike(&mut self.interactive, wanted, ready, &mut batch);
        }
        if batch.is_empty() {
            self.by_age.values_mut().for_each(|queue| take_alike(queue, wanted, ready, &mut batch));
            self.drop_empty();
            self.singles = 0;
        } else {
            self.singles += 1;
        }
        if batch.is_empty() {
            take_alike(&mut self.interactive, wanted, ready, &mut batch);
        }
        batch
    }

    fn drop_empty(&mut self) {
        self.by_age.retain(|_, queue| !queue.is_empty());
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

        fn single(&mut self, tenant: TenantId) -> Arc<FrameJob> {
            let task = Task { kind: TaskKind::Detect, profile: Arc::new(ModelProfile::simulated("detector")) };
            let (job, answer) = FrameJob::interactive(tenant, task, Arc::new(RgbImage::new(2, 2)), 1.0, Arc::new(()));
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

    #[test]
    fn exports_have_their_turn_beside_many_single_frames() {
        let (mut waiting, mut frames) = (Waiting::new(1.0), Frames::default());
        let (tenant, export) = (TenantId::new(), ExportId::new());
        (0..3).for_each(|_| waiting.push(frames.of(tenant, export, "m")));
        (0..8).for_each(|_| waiting.push(frames.single(tenant)));
        let lanes: Vec<_> = (0..11).flat_map(|_| take(&mut waiting, 1)).map(|job| job.lane).collect();
        let expected = [
            [Lane::Interactive; 3].as_slice(),
            &[Lane::Batch],
            &[Lane::Interactive; 3],
            &[Lane::Batch],
            &[Lane::Interactive; 2],
            &[Lane::Batch],
        ];
        assert_eq!(lanes, expected.concat());
    }

    #[test]
    fn single_frames_take_no_turn_of_another_tenants_exports() {
        let (mut waiting, mut frames) = (Waiting::new(1.0), Frames::default());
        let (clicks, renders, export) = (TenantId::new(), TenantId::new(), ExportId::new());
        (0..20).for_each(|_| waiting.push(frames.of(renders, export, "m")));
        (0..8).for_each(|_| waiting.push(frames.single(clicks)));
        let mut served = Vec::new();
        for _ in 0..20 {
            let batch = take(&mut waiting, 1);
            // Eight lookups are in flight all the time: each that is served is followed by the next.
            batch.iter().filter(|job| job.tenant == clicks).for_each(|_| waiting.push(frames.single(clicks)));
            served.extend(batch);
        }
        assert_eq!(served.iter().filter(|job| job.tenant == renders).count(), 10, "half of the turns");
    }

    #[test]
    fn a_lookup_goes_before_its_own_tenants_exports_and_soon_beside_others() {
        let (mut waiting, mut frames) = (Waiting::new(1.0), Frames::default());
        let (busy, clicks, export) = (TenantId::new(), TenantId::new(), ExportId::new());
        (0..50).for_each(|_| waiting.push(frames.of(busy, export, "m")));
        (0..10).for_each(|_| drop(take(&mut waiting, 1)));
        waiting.push(frames.of(clicks, export, "m"));
        waiting.push(frames.single(clicks));
        // A tenant that was idle is next, and begins with its lookup.
        let next: Vec<_> = (0..2).flat_map(|_| take(&mut waiting, 1)).collect();
        assert!(next.iter().any(|job| job.tenant == clicks && job.lane == Lane::Interactive));
        assert!(next.iter().all(|job| job.tenant == busy || job.lane == Lane::Interactive));
    }

    #[test]
    fn a_batch_of_lookups_is_one_tenants() {
        let (mut waiting, mut frames) = (Waiting::new(1.0), Frames::default());
        let (one, other) = (TenantId::new(), TenantId::new());
        [one, other, one].into_iter().for_each(|tenant| waiting.push(frames.single(tenant)));
        let tenants = |batch: Vec<Arc<FrameJob>>| batch.iter().map(|job| job.tenant).collect::<Vec<_>>();
        assert_eq!(tenants(take(&mut waiting, 4)), [one, one]);
        assert_eq!(tenants(take(&mut waiting, 4)), [other]);
        assert_eq!((waiting.len(), waiting.len_of(one)), (0, 0));
    }

    #[test]
    fn a_cancelled_lookup_is_dropped() {
        let (mut waiting, mut frames) = (Waiting::new(1.0), Frames::default());
        waiting.push(frames.single(TenantId::new()));
        frames.0.clear();
        assert!(take(&mut waiting, 1).is_empty());
        assert_eq!(waiting.len(), 0);
    }
}
