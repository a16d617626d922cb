//! The actor that claims jobs for this node's free slots, starts them and stops them.
//!
//! It claims whenever a slot is free and something may be claimable (a wake-up, a job that ended, the safety-net poll),
//! and starts an [`ExportCoordinator`] or the rendering of a segment for each job; on shutdown it releases the leases.
//! Which job comes next is decided by the jobs' tags in the database, which jobs may begin here by [`Slots`]. Requests go
//! to the [service](super::service).

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture};
use entities::jobs::{self, Job, JobKind, Swept};
use entities::{ExportId, TenantId, exports};
use tokio::sync::{OnceCell, oneshot};
use tracing::Instrument;

use super::coordinator::{Abandon, CoordinatorEvent, ExportCoordinator, Reevaluate};
use super::job::{JobOutcome, LEASE, record_coordinator_failure, record_job_failure, span_of};
use super::run::ExportRun;
use super::segment_job;
use super::slots::{Claimed, Next, Slots};
use crate::context::NodeContext;
use crate::failpoints::{self, Point};
use crate::removals::remove_export_files;

/// See the [module](self).
pub struct Dispatcher {
    context: Arc<NodeContext>,
    slots: Slots<LocalRun>,
    /// Callers that wait for the end of an export's last attempt here.
    waiting_for_end: Vec<(ExportId, oneshot::Sender<()>)>,
    /// Callers that wait until no job is held.
    waiting_for_idle: Vec<oneshot::Sender<()>>,
}

/// What the jobs of one export share on this node.
#[derive(Default)]
struct LocalRun {
    /// Planned once, by whichever job begins first.
    run: Arc<OnceCell<Arc<ExportRun>>>,
    coordinator: Option<Addr<ExportCoordinator>>,
}

/// The safety net under the wake-ups.
const POLL: Duration = Duration::from_millis(500);
/// How often other nodes' expired leases are swept.
const LEASE_SWEEP: Duration = Duration::from_secs(10);
/// The first backoff of a failed job, and a little more: claimed then rather than at the next poll.
const FIRST_BACKOFF: Duration = Duration::from_millis(1050);

impl Dispatcher {
    /// A dispatcher for the slots of `context`.
    pub fn new(context: Arc<NodeContext>) -> Self {
        let slots = Slots::new(context.segment_slots);
        Self { context, slots, waiting_for_end: Vec::new(), waiting_for_idle: Vec::new() }
    }

    /// Claims what this node can start now, one job after the other.
    fn claim(&mut self, ctx: &mut Context<Self>) {
        let Some(wanted) = self.slots.begin_claim() else { return };
        let context = Arc::clone(&self.context);
        let claim = async move {
            let at_once = context.live.borrow().live.limits.concurrent_exports;
            let job = jobs::claim_within(&context.db, &context.owner, &wanted, LEASE, at_once).await?;
            match job {
                Some(job) => with_attempt(&context, job).await,
                None => Ok(None),
            }
        };
        ctx.spawn(claim.into_actor(self).map(|claimed, this, ctx| {
            let claimed = claimed.unwrap_or_else(|error: entities::Error| {
                tracing::error!(%error, "claiming a job failed; the next poll tries again");
                None
            });
            let again = this.slots.end_claim(claimed.is_some());
            if let Some(claimed) = claimed {
                failpoints::passed(Point::JobClaimed);
                this.begin(claimed, ctx);
            }
            if again {
                this.claim(ctx);
            }
            this.notify_waiting();
        }));
    }

    fn begin(&mut self, claimed: Claimed, ctx: &mut Context<Self>) {
        let Some(job) = self.slots.take(claimed) else { return };
        match job.kind {
            JobKind::Coordinate => self.coordinate(job, ctx),
            JobKind::Audio | JobKind::Segment => self.render(job, ctx),
        }
    }

    /// The export's plan, opened by the first of its jobs.
    fn open(&self, job: &Job) -> impl Future<Output = Result<Arc<ExportRun>, super::failure::ExportFailure>> + 'static {
        let held = self.slots.get(job.export_id).expect("a begun job's export is held");
        let (cell, stop) = (Arc::clone(&held.shared.run), Arc::clone(&held.stop));
        let (context, job) = (Arc::clone(&self.context), job.clone());
        async move { cell.get_or_try_init(|| ExportRun::open(&context, &job, stop)).await.map(Arc::clone) }
    }

    fn coordinate(&self, job: Job, ctx: &mut Context<Self>) {
        let (open, context, span) = (self.open(&job), Arc::clone(&self.context), span_of(&job));
        let stop = self.slots.get(job.export_id).map(|held| Arc::clone(&held.stop));
        let open = async move {
            match open.await {
                Ok(run) => Ok((run, job)),
                // Its sources were being read when it was stopped, which is no failure.
                Err(_) if stop.is_some_and(|stop| stop.is_raised()) => {
                    segment_job::release(&context, &job).await;
                    Err((job.export_id, None))
                }
                Err(failure) => Err((job.export_id, record_coordinator_failure(&context, &job, &failure).await)),
            }
        };
        ctx.spawn(open.instrument(span).into_actor(self).map(|opened, this, ctx| match opened {
            Ok((run, job)) => this.start_coordinator(run, job, ctx),
            Err((export, ended)) => {
                if let Some(row) = ended {
                    this.context.export_ended(&row);
                }
                this.job_ended(export, JobKind::Coordinate, ctx);
            }
        }));
    }

    fn start_coordinator(&mut self, run: Arc<ExportRun>, job: Job, ctx: &mut Context<Self>) {
        let (export, stopping) = (job.export_id, self.slots.is_stopping());
        let events = ctx.address().recipient();
        let coordinator = ExportCoordinator::new(Arc::clone(&self.context), run, job, events).start();
        let Some(held) = self.slots.get_mut(export) else { return };
        if stopping {
            coordinator.do_send(Abandon::NodeStops);
        } else if held.is_cancelled() {
            coordinator.do_send(Abandon::Cancelled);
        }
        held.shared.coordinator = Some(coordinator);
    }

    fn render(&self, job: Job, ctx: &mut Context<Self>) {
        let (open, context, span) = (self.open(&job), Arc::clone(&self.context), span_of(&job));
        let stop = self.slots.get(job.export_id).map(|held| Arc::clone(&held.stop));
        let began = Instant::now();
        let render = async move {
            let outcome = match open.await {
                Ok(run) => segment_job::run(&context, &run, &job).await,
                Err(_) if stop.is_some_and(|stop| stop.is_raised()) => {
                    segment_job::release(&context, &job).await;
                    JobOutcome::Released
                }
                Err(failure) => record_job_failure(&context, &job, &failure).await,
            };
            crate::metrics::job_ended(job.kind, outcome.label(), began.elapsed());
            (job.export_id, job.kind, outcome)
        };
        ctx.spawn(render.instrument(span).into_actor(self).map(|(export, kind, outcome), this, ctx| {
            if let Some(coordinator) = this.slots.get(export).and_then(|held| held.shared.coordinator.as_ref()) {
                coordinator.do_send(Reevaluate);
            }
            if outcome == JobOutcome::Retried {
                ctx.run_later(FIRST_BACKOFF, Self::claim);
            }
            this.job_ended(export, kind, ctx);
        }));
    }

    /// A job of `export` is not held any more.
    fn job_ended(&mut self, export: ExportId, kind: JobKind, ctx: &mut Context<Self>) {
        let next = self.slots.end(export, kind);
        self.follow(next, ctx);
        self.claim(ctx);
    }

    fn follow(&mut self, next: Next, ctx: &mut Context<Self>) {
        match next {
            Next::Nothing => {}
            Next::Retake(jobs) => jobs.into_iter().for_each(|claimed| self.begin(claimed, ctx)),
            Next::RemoveFiles(tenant, export) => {
                let context = Arc::clone(&self.context);
                let remove = async move { remove_export_files(&context, tenant, export).await };
                ctx.spawn(remove.into_actor(self).map(move |(), this, ctx| {
                    let next = this.slots.files_removed(export);
                    this.follow(next, ctx);
                }));
            }
        }
        self.notify_waiting();
    }

    fn notify_waiting(&mut self) {
        let slots = &self.slots;
        for (_, waiting) in self.waiting_for_end.extract_if(.., |(export, _)| !slots.is_ending(*export)) {
            // The caller may have left.
            let _ = waiting.send(());
        }
        if self.slots.is_idle() {
            for waiting in self.waiting_for_idle.drain(..) {
                let _ = waiting.send(());
            }
        }
    }

    fn sweep_leases(&mut self, ctx: &mut Context<Self>) {
        let context = Arc::clone(&self.context);
        let sweep = async move {
            let swept = jobs::sweep(&context.db).await?;
            publish_failed(&context, &swept);
            if let Some(error) = &swept.error {
                tracing::error!(%error, "some expired leases are left for the next sweep");
            }
            Ok::<_, entities::Error>(swept)
        };
        ctx.spawn(sweep.into_actor(self).map(|swept, this, ctx| match swept {
            Ok(swept) if swept.ready > 0 => this.claim(ctx),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "sweeping expired leases failed"),
        }));
    }
}

/// A job with its export's attempt; None when it is not held any more. One that cannot be read is given back.
async fn with_attempt(context: &NodeContext, job: Job) -> Result<Option<Claimed>, entities::Error> {
    let read = async {
        let Some(row) = exports::for_worker(&context.db, &job).await? else { return Ok(None) };
        // After the row: a retry deletes the jobs of the last attempt, so that a job that is still held is of this one.
        Ok(jobs::is_held(&context.db, &job).await?.then_some(row.attempt))
    };
    match read.await {
        Ok(attempt) => Ok(attempt.map(|attempt| Claimed { job, attempt })),
        Err(error) => {
            jobs::release(&context.db, &job).await?;
            Err(error)
        }
    }
}

/// Publishes the end of exports whose coordinators crashed too often: no coordinator is left that would.
pub fn publish_failed(context: &NodeContext, swept: &Swept) {
    swept.failed.iter().for_each(|row| context.export_ended(row));
}

impl Actor for Dispatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1024);
        ctx.run_interval(POLL, Self::claim);
        ctx.run_interval(LEASE_SWEEP, Self::sweep_leases);
        self.claim(ctx);
    }
}

/// There may be a job to claim.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Wake;

impl Handler<Wake> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.claim(ctx);
    }
}

impl Handler<CoordinatorEvent> for Dispatcher {
    type Result = ();

    fn handle(&mut self, event: CoordinatorEvent, ctx: &mut Self::Context) {
        match event {
            CoordinatorEvent::Enqueued => self.claim(ctx),
            CoordinatorEvent::Ended(export) => {
                if let Some(held) = self.slots.get_mut(export) {
                    held.shared.coordinator = None;
                }
                self.job_ended(export, JobKind::Coordinate, ctx);
            }
        }
    }
}

/// An export was cancelled in the rows: its jobs here stop, and its files are removed after the last of them.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StopExport {
    pub tenant: TenantId,
    pub export: ExportId,
}

impl Handler<StopExport> for Dispatcher {
    type Result = ();

    fn handle(&mut self, StopExport { tenant, export }: StopExport, ctx: &mut Self::Context) {
        let next = self.slots.cancel(tenant, export);
        if let Some(coordinator) = self.slots.get(export).and_then(|held| held.shared.coordinator.as_ref()) {
            coordinator.do_send(Abandon::Cancelled);
        }
        self.follow(next, ctx);
    }
}

/// The files of an export that was deleted or cancelled are still there: they are removed, unless jobs of it are held
/// here, whose end removes what is to go.
#[derive(Message)]
#[rtype(result = "()")]
pub struct RemoveFiles {
    pub tenant: TenantId,
    pub export: ExportId,
}

impl Handler<RemoveFiles> for Dispatcher {
    type Result = ();

    fn handle(&mut self, RemoveFiles { tenant, export }: RemoveFiles, ctx: &mut Self::Context) {
        let next = self.slots.remove_again(tenant, export);
        self.follow(next, ctx);
    }
}

/// Answers when no ended attempt of the export has jobs or files in this node's hands.
#[derive(Message)]
#[rtype(result = "()")]
pub struct AwaitEnd(pub ExportId);

impl Handler<AwaitEnd> for Dispatcher {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, AwaitEnd(export): AwaitEnd, _: &mut Self::Context) -> Self::Result {
        let (sender, ended) = oneshot::channel();
        self.waiting_for_end.push((export, sender));
        self.notify_waiting();
        // A dispatcher that has stopped holds no job.
        Box::pin(async move { ended.await.unwrap_or_default() })
    }
}

/// Stops this node's work and releases its leases; answers when no job is held any more.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop;

impl Handler<Stop> for Dispatcher {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) -> Self::Result {
        for Claimed { job, .. } in self.slots.stop() {
            let db = self.context.db.clone();
            let release = async move {
                if let Err(error) = jobs::release(&db, &job).await {
                    tracing::warn!(export = %job.export_id, %error, "releasing a lease failed; it will run out");
                }
            };
            ctx.spawn(release.into_actor(self));
        }
        for coordinator in self.slots.exports().filter_map(|held| held.shared.coordinator.as_ref()) {
            coordinator.do_send(Abandon::NodeStops);
        }
        let (sender, idle) = oneshot::channel();
        self.waiting_for_idle.push(sender);
        self.notify_waiting();
        Box::pin(async move { idle.await.unwrap_or_default() })
    }
}
