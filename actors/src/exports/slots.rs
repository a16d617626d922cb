//! Which jobs this node holds, and what may be claimed: the [dispatcher](super::dispatcher)'s decisions, without an
//! actor, a database or a clock.
//!
//! Invariants: an attempt of an export has one plan and one stop signal as long as jobs of it are held; the files of a
//! cancelled attempt are removed when its last job has ended, and no job of a later attempt begins before that.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use entities::jobs::{Job, JobKind, Wanted};
use entities::{ExportId, TenantId};

use crate::processes::stop::{StopReason, StopSignal};

/// Exports coordinated side by side. A coordinator mostly waits for its segments.
pub const MAX_COORDINATED: usize = 64;

/// The held jobs. `P` is what the jobs of one export share, made when the first of them begins.
pub struct Slots<P> {
    /// Segments and sound tracks rendered side by side. Beyond them, as many again, one for each tenant that has none: who
    /// holds the slots with segments that take long keeps no other tenant from beginning.
    render_slots: usize,
    exports: HashMap<ExportId, HeldExport<P>>,
    /// Exports whose files are being removed.
    removing: HashSet<ExportId>,
    /// Claimed jobs of a new attempt, while the last one still ends here.
    deferred: Vec<Claimed>,
    coordinating: usize,
    /// Segments and sound tracks that are being rendered, by tenant; those with none are not in it.
    rendering_of: HashMap<TenantId, usize>,
    /// A claim is under way.
    claiming: bool,
    /// Something became claimable while it was.
    claim_again: bool,
    stopping: bool,
}

/// A claimed job, and the attempt that its export was in then.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    pub job: Job,
    pub attempt: i32,
}

/// An export of which jobs are held.
pub struct HeldExport<P> {
    pub shared: P,
    tenant: TenantId,
    /// The export's, of which these jobs are.
    attempt: i32,
    /// Raised when the export is cancelled or the node stops.
    pub stop: Arc<StopSignal>,
    /// Begun jobs that have not ended, the coordinator among them.
    begun: usize,
    /// Set when the export was cancelled: whose files go when the last job has ended.
    cancelled: Option<TenantId>,
}

/// What is to be done now.
#[derive(Debug, PartialEq)]
pub enum Next {
    Nothing,
    /// Remove the files of a cancelled export, then report [`Slots::files_removed`].
    RemoveFiles(TenantId, ExportId),
    /// Hand these jobs to [`Slots::take`] again.
    Retake(Vec<Claimed>),
}

impl<P: Default> Slots<P> {
    /// No job held yet.
    pub fn new(render_slots: usize) -> Self {
        Self {
            render_slots,
            exports: HashMap::new(),
            removing: HashSet::new(),
            deferred: Vec::new(),
            coordinating: 0,
            rendering_of: HashMap::new(),
            claiming: false,
            claim_again: false,
            stopping: false,
        }
    }

    /// What to claim one job of now; None: nothing. While a claim is under way another one is only noted.
    pub fn begin_claim(&mut self) -> Option<Wanted> {
        if self.claiming {
            self.claim_again = true;
            return None;
        }
        if self.stopping {
            return None;
        }
        let mut wanted = Wanted::default();
        if self.coordinating < MAX_COORDINATED {
            wanted.kinds.push(JobKind::Coordinate);
        }
        let rendering = self.rendering();
        if rendering < 2 * self.render_slots {
            wanted.kinds.extend([JobKind::Audio, JobKind::Segment]);
        }
        if rendering >= self.render_slots {
            wanted.parts_except = self.rendering_of.keys().copied().collect();
        }
        self.claiming = !wanted.kinds.is_empty();
        self.claiming.then_some(wanted)
    }

    /// The claim has ended, with or without a job. True: claim again at once, as there may be more.
    pub fn end_claim(&mut self, found: bool) -> bool {
        self.claiming = false;
        std::mem::take(&mut self.claim_again) || found
    }

    /// Takes a claimed job. Returns it when it begins now; a job whose export's last attempt still ends here is deferred.
    pub fn take(&mut self, claimed: Claimed) -> Option<Job> {
        let export = claimed.job.export_id;
        if let Some(held) = self.exports.get(&export).filter(|held| held.attempt != claimed.attempt) {
            // Retried before this node got to know that the attempt was over.
            held.stop.raise(StopReason::Cancelled);
        }
        if self.is_ending(export) {
            self.deferred.push(claimed);
            return None;
        }
        let Claimed { job, attempt } = claimed;
        let export = self.exports.entry(export).or_insert_with(|| HeldExport {
            shared: P::default(),
            tenant: job.tenant_id,
            attempt,
            stop: Arc::new(StopSignal::new()),
            begun: 0,
            cancelled: None,
        });
        export.begun += 1;
        if self.stopping {
            export.stop.raise(StopReason::NodeStops);
        }
        match job.kind {
            JobKind::Coordinate => self.coordinating += 1,
            JobKind::Audio | JobKind::Segment => *self.rendering_of.entry(job.tenant_id).or_default() += 1,
        }
        Some(job)
    }

    fn rendering(&self) -> usize {
        self.rendering_of.values().sum()
    }

    /// A slot is free again.
    fn leave(&mut self, kind: JobKind, tenant: TenantId) {
        match kind {
            JobKind::Coordinate => self.coordinating = self.coordinating.saturating_sub(1),
            JobKind::Audio | JobKind::Segment => {
                let left = self.rendering_of.remove(&tenant).unwrap_or(0);
                if left > 1 {
                    self.rendering_of.insert(tenant, left - 1);
                }
            }
        }
    }

    /// The export, while jobs of it are held.
    pub fn get(&self, export: ExportId) -> Option<&HeldExport<P>> {
        self.exports.get(&export)
    }

    /// [`Slots::get`], to be changed.
    pub fn get_mut(&mut self, export: ExportId) -> Option<&mut HeldExport<P>> {
        self.exports.get_mut(&export)
    }

    /// Every export of which jobs are held.
    pub fn exports(&self) -> impl Iterator<Item = &HeldExport<P>> {
        self.exports.values()
    }

    /// A begun job has ended, in whatever way.
    pub fn end(&mut self, export: ExportId, kind: JobKind) -> Next {
        let Some(held) = self.exports.get_mut(&export) else { return Next::Nothing };
        held.begun = held.begun.saturating_sub(1);
        let (tenant, begun) = (held.tenant, held.begun);
        self.leave(kind, tenant);
        if begun > 0 {
            return Next::Nothing;
        }
        match self.exports.remove(&export).and_then(|held| held.cancelled) {
            Some(tenant) => self.remove(tenant, export),
            None => self.retake(),
        }
    }

    /// The export was cancelled in the rows: its jobs here are to stop, and its files go with the last of them.
    pub fn cancel(&mut self, tenant: TenantId, export: ExportId) -> Next {
        match self.exports.get_mut(&export) {
            Some(held) => {
                held.cancelled = Some(tenant);
                held.stop.raise(StopReason::Cancelled);
                Next::Nothing
            }
            None => self.remove(tenant, export),
        }
    }

    /// Files of an export that ended earlier are to be removed, unless jobs of it are held, or they are being removed.
    pub fn remove_again(&mut self, tenant: TenantId, export: ExportId) -> Next {
        if self.exports.contains_key(&export) || self.removing.contains(&export) {
            return Next::Nothing;
        }
        self.remove(tenant, export)
    }

    fn remove(&mut self, tenant: TenantId, export: ExportId) -> Next {
        self.removing.insert(export);
        Next::RemoveFiles(tenant, export)
    }

    /// The files of a cancelled export are gone.
    pub fn files_removed(&mut self, export: ExportId) -> Next {
        self.removing.remove(&export);
        self.retake()
    }

    fn retake(&mut self) -> Next {
        match std::mem::take(&mut self.deferred) {
            jobs if jobs.is_empty() => Next::Nothing,
            jobs => Next::Retake(jobs),
        }
    }

    /// Whether an ended attempt of the export still has jobs or files in this node's hands.
    pub fn is_ending(&self, export: ExportId) -> bool {
        let stopped = |held: &HeldExport<P>| held.stop.reason() == Some(StopReason::Cancelled);
        self.removing.contains(&export) || self.exports.get(&export).is_some_and(stopped)
    }

    /// The node stops: nothing is claimed any more, and what runs is to stop. Returns the claimed jobs that have not
    /// begun, whose leases are to be released.
    pub fn stop(&mut self) -> Vec<Claimed> {
        self.stopping = true;
        for held in self.exports.values() {
            held.stop.raise(StopReason::NodeStops);
        }
        std::mem::take(&mut self.deferred)
    }

    /// Whether the node stops.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// Whether no job is held or being claimed: what is being claimed is held a moment later.
    pub fn is_idle(&self) -> bool {
        self.coordinating + self.rendering() == 0 && !self.claiming
    }
}

impl<P> HeldExport<P> {
    /// Whether the export was cancelled while jobs of it were held.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::super::job::test_job;
    use super::*;

    fn slots() -> Slots<()> {
        Slots::new(2)
    }

    fn job(export: ExportId, kind: JobKind) -> Claimed {
        Claimed { job: Job { export_id: export, ..test_job(kind) }, attempt: 1 }
    }

    const ALL: [JobKind; 3] = [JobKind::Coordinate, JobKind::Audio, JobKind::Segment];
    const PARTS: [JobKind; 2] = [JobKind::Audio, JobKind::Segment];

    fn of(tenant: TenantId, export: ExportId, kind: JobKind) -> Claimed {
        let Claimed { job, attempt } = job(export, kind);
        Claimed { job: Job { tenant_id: tenant, ..job }, attempt }
    }

    /// What is claimed now, and for whom parts are not.
    fn claims(slots: &mut Slots<()>) -> (Vec<JobKind>, Vec<TenantId>) {
        let Wanted { kinds, mut parts_except } = slots.begin_claim().unwrap_or_default();
        slots.end_claim(false);
        parts_except.sort();
        (kinds, parts_except)
    }

    #[actix::test]
    async fn what_is_claimed_depends_on_the_free_slots() {
        let mut slots = slots();
        let (tenant, export) = (TenantId::new(), ExportId::new());
        for _ in 0..2 {
            assert_eq!(claims(&mut slots), (ALL.to_vec(), vec![]));
            assert!(slots.take(of(tenant, export, JobKind::Segment)).is_some());
        }
        assert_eq!(claims(&mut slots), (ALL.to_vec(), vec![tenant]), "the slots are the tenant's");
        for _ in 0..MAX_COORDINATED {
            slots.take(job(ExportId::new(), JobKind::Coordinate));
        }
        assert_eq!(claims(&mut slots), (PARTS.to_vec(), vec![tenant]));
        slots.end(export, JobKind::Segment);
        assert_eq!(claims(&mut slots), (PARTS.to_vec(), vec![]));
    }

    #[actix::test]
    async fn a_tenant_without_a_segment_begins_although_others_hold_the_slots() {
        let mut slots = slots();
        let (many, first, second) = (TenantId::new(), TenantId::new(), TenantId::new());
        let (long, theirs) = (ExportId::new(), ExportId::new());
        (0..2).for_each(|_| _ = slots.take(of(many, long, JobKind::Segment)));
        slots.take(of(first, theirs, JobKind::Segment));
        assert_eq!(claims(&mut slots).1, [many, first]);
        slots.take(of(second, ExportId::new(), JobKind::Audio));
        assert_eq!(claims(&mut slots), (vec![JobKind::Coordinate], vec![many, first, second]), "twice as many at most");
        slots.end(theirs, JobKind::Segment);
        assert_eq!(claims(&mut slots), (ALL.to_vec(), vec![many, second]), "the first one may begin again");
        slots.end(long, JobKind::Segment);
        assert_eq!(claims(&mut slots).1, [many, second], "it still has one");
        slots.end(long, JobKind::Segment);
        assert_eq!(claims(&mut slots), (ALL.to_vec(), vec![]));
    }

    #[actix::test]
    async fn one_claim_runs_at_a_time_and_a_wakeup_meanwhile_is_not_lost() {
        let mut slots = slots();
        assert!(slots.begin_claim().is_some());
        assert!(slots.begin_claim().is_none());
        assert!(!slots.is_idle(), "what is being claimed counts");
        assert!(slots.end_claim(false), "claim again: something came meanwhile");
        assert!(slots.begin_claim().is_some());
        assert!(!slots.end_claim(false), "it was noted once");
        assert!(slots.is_idle());
    }

    #[actix::test]
    async fn files_that_are_left_are_removed_beside_no_job() {
        let (mut slots, tenant, export) = (slots(), TenantId::new(), ExportId::new());
        assert_eq!(slots.remove_again(tenant, export), Next::RemoveFiles(tenant, export));
        assert_eq!(slots.remove_again(tenant, export), Next::Nothing, "they are being removed");
        let retried = job(export, JobKind::Coordinate);
        assert_eq!(slots.take(retried.clone()), None, "a new attempt waits for that");
        assert_eq!(slots.files_removed(export), Next::Retake(vec![retried.clone()]));
        assert!(slots.take(retried).is_some());
        assert_eq!(slots.remove_again(tenant, export), Next::Nothing, "its files are the new attempt's");
    }

    #[actix::test]
    async fn files_of_a_cancelled_export_go_with_its_last_job_and_a_new_attempt_waits_for_that() {
        let (mut slots, tenant, export) = (slots(), TenantId::new(), ExportId::new());
        slots.take(job(export, JobKind::Coordinate));
        slots.take(job(export, JobKind::Segment));
        assert_eq!(slots.cancel(tenant, export), Next::Nothing);
        assert!(slots.is_ending(export) && slots.get(export).unwrap().is_cancelled());
        assert_eq!(slots.get(export).unwrap().stop.reason(), Some(StopReason::Cancelled));
        let retried = job(export, JobKind::Coordinate);
        assert_eq!(slots.take(retried.clone()), None, "the last attempt still ends");
        assert_eq!(slots.end(export, JobKind::Segment), Next::Nothing);
        assert_eq!(slots.end(export, JobKind::Coordinate), Next::RemoveFiles(tenant, export));
        assert!(slots.is_ending(export) && slots.take(job(export, JobKind::Segment)).is_none());
        let Next::Retake(jobs) = slots.files_removed(export) else { panic!("the deferred jobs are due") };
        assert_eq!((jobs.len(), &jobs[0]), (2, &retried));
        assert!(!slots.is_ending(export));
        for job in jobs {
            assert!(slots.take(job).is_some());
        }
        assert_eq!(slots.get(export).unwrap().stop.reason(), None, "another attempt has a signal of its own");
    }

    #[actix::test]
    async fn a_job_of_another_attempt_stops_the_one_that_is_held_and_waits_for_its_end() {
        let (mut slots, export) = (slots(), ExportId::new());
        slots.take(job(export, JobKind::Coordinate));
        slots.take(job(export, JobKind::Segment));
        let retried = Claimed { attempt: 2, ..job(export, JobKind::Coordinate) };
        assert_eq!(slots.take(retried.clone()), None, "it would render by the last attempt's plan");
        assert_eq!(slots.get(export).unwrap().stop.reason(), Some(StopReason::Cancelled));
        assert!(!slots.get(export).unwrap().is_cancelled(), "the kept segments' files stay");
        assert_eq!(slots.end(export, JobKind::Coordinate), Next::Nothing);
        assert_eq!(slots.end(export, JobKind::Segment), Next::Retake(vec![retried.clone()]));
        assert_eq!(slots.take(retried.clone()), Some(retried.job));
        assert_eq!(slots.get(export).unwrap().stop.reason(), None, "another attempt has a signal of its own");
    }

    #[actix::test]
    async fn an_export_without_jobs_here_loses_its_files_at_once() {
        let (mut slots, tenant, export) = (slots(), TenantId::new(), ExportId::new());
        assert_eq!(slots.cancel(tenant, export), Next::RemoveFiles(tenant, export));
        assert!(slots.is_ending(export));
        assert_eq!(slots.files_removed(export), Next::Nothing);
        assert!(!slots.is_ending(export));
    }

    #[actix::test]
    async fn jobs_deferred_for_one_export_are_retaken_when_another_ends() {
        let (mut slots, one, other) = (slots(), ExportId::new(), ExportId::new());
        slots.take(job(one, JobKind::Segment));
        slots.cancel(TenantId::new(), one);
        let waiting = job(one, JobKind::Segment);
        slots.take(waiting.clone());
        slots.take(job(other, JobKind::Segment));
        assert_eq!(slots.end(other, JobKind::Segment), Next::Retake(vec![waiting.clone()]));
        assert_eq!(slots.take(waiting), None, "its own export has not ended");
    }

    #[actix::test]
    async fn a_stopping_node_claims_nothing_and_ends_when_its_jobs_have() {
        let (mut slots, export) = (slots(), ExportId::new());
        slots.take(job(export, JobKind::Segment));
        slots.cancel(TenantId::new(), export);
        let deferred = job(export, JobKind::Coordinate);
        slots.take(deferred.clone());
        let running = ExportId::new();
        slots.take(job(running, JobKind::Coordinate));
        assert_eq!(slots.stop(), [deferred]);
        assert!(slots.is_stopping() && slots.begin_claim().is_none());
        assert_eq!(slots.get(running).unwrap().stop.reason(), Some(StopReason::NodeStops));
        // A claim that was under way when the node stopped brings a job, which stops at once.
        let late = ExportId::new();
        slots.take(job(late, JobKind::Segment));
        assert_eq!(slots.get(late).unwrap().stop.reason(), Some(StopReason::NodeStops));
        slots.end(export, JobKind::Segment);
        slots.end(late, JobKind::Segment);
        assert!(!slots.is_idle());
        slots.end(running, JobKind::Coordinate);
        assert!(slots.is_idle());
        assert_eq!(slots.exports().count(), 0);
    }

    #[actix::test]
    async fn exports_of_which_jobs_are_held_are_listed_and_can_be_changed() {
        let (mut slots, one, other) = (slots(), ExportId::new(), ExportId::new());
        assert!(!slots.is_stopping() && slots.get_mut(one).is_none());
        slots.take(job(one, JobKind::Coordinate));
        slots.take(job(other, JobKind::Segment));
        assert!(!slots.is_idle(), "one coordinates, one renders");
        assert_eq!(slots.exports().count(), 2);
        assert!(!slots.get_mut(one).unwrap().is_cancelled());
        slots.end(one, JobKind::Coordinate);
        assert!(!slots.is_idle() && slots.exports().count() == 1);
        slots.end(other, JobKind::Segment);
        assert!(slots.is_idle() && slots.exports().count() == 0);
    }
}
