//! The actor that takes exports in and claims jobs for this node.
//!
//! It answers the handlers' [`StartExport`], [`CancelExport`], [`RetryExport`], [`DeleteExport`] and [`ImportVideo`]; it claims a job
//! whenever a slot is free, and starts an [`ExportCoordinator`] or the rendering of a segment for it; on shutdown it gives
//! the leases back. The order of work is not its business: the jobs' tags decide.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, ResponseActFuture, ResponseFuture, WrapFuture,
};
use entities::exports::{self, Cancelled, Deleted, Export, Retried};
use entities::jobs::{self, Job, JobKind, Swept};
use entities::videos::{self, Video};
use entities::{ExportId, Subject, TenantId};
use tokio::sync::OnceCell;
use tracing::{Instrument, Span, info_span};

use crate::detections::cache::Invalidate;
use crate::exports::coordinator::{Abandon, ExportCoordinator, Look, fail_coordinator};
use crate::exports::request::{self, NewRequest, RequestError};
use crate::exports::retry;
use crate::exports::run::ExportRun;
use crate::exports::segment_job::{self, JobOutcome, LEASE};
use crate::failpoints::{self, Point};
use crate::node::NodeContext;
use crate::progress::hub::{Progress, Publish};
use crate::render::{StopReason, StopSignal};
use crate::storage;
use crate::videos::import::{self, ImportError, Indexing, NewSource};

/// See the [module](self).
pub struct Dispatcher {
    context: Arc<NodeContext>,
    live: HashMap<ExportId, LiveExport>,
    /// Exports whose files are being removed.
    removing: HashSet<ExportId>,
    /// Claimed jobs of a new attempt, while the last one still ends here.
    waiting: Vec<Job>,
    coordinating: usize,
    rendering: usize,
    claiming: bool,
    claim_again: bool,
    stopping: bool,
}

/// An export that has jobs in this node's hands.
struct LiveExport {
    /// Planned once, by whichever job comes first.
    running: Plan,
    /// There before the plan is: what is being opened can be stopped too.
    stop: Arc<StopSignal>,
    coordinator: Option<Addr<ExportCoordinator>>,
    /// Claimed jobs that have not ended, the coordinator among them.
    in_hand: usize,
    /// Set when the export was cancelled: whose files are to go when the last job has ended.
    cancelled: Option<TenantId>,
}

/// An export's plan, once it is made.
type Plan = Arc<OnceCell<Arc<ExportRun>>>;

/// Exports coordinated side by side: they cost next to nothing.
const COORDINATED: usize = 64;
/// The safety net under the wake-ups.
const POLL: Duration = Duration::from_millis(500);
/// How often other nodes' expired leases are looked for.
const SWEEP: Duration = Duration::from_secs(10);
/// How long a stop waits for jobs to end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

impl Dispatcher {
    pub fn new(context: Arc<NodeContext>) -> Self {
        Self {
            context,
            live: HashMap::new(),
            removing: HashSet::new(),
            waiting: Vec::new(),
            coordinating: 0,
            rendering: 0,
            claiming: false,
            claim_again: false,
            stopping: false,
        }
    }

    /// Claims what this node can start now, one job after the other.
    fn claim(&mut self, ctx: &mut Context<Self>) {
        if self.claiming {
            self.claim_again = true;
            return;
        }
        let mut kinds = Vec::new();
        if self.coordinating < COORDINATED {
            kinds.push(JobKind::Coordinate);
        }
        if self.rendering < self.context.segment_slots {
            kinds.extend([JobKind::Audio, JobKind::Segment]);
        }
        if self.stopping || kinds.is_empty() {
            return;
        }
        self.claiming = true;
        let context = Arc::clone(&self.context);
        let claim = async move {
            let at_once = context.live.borrow().live.limits.concurrent_exports;
            jobs::claim_within(&context.db, &context.owner, &kinds, LEASE, at_once).await
        };
        ctx.spawn(claim.into_actor(self).map(|claimed, this, ctx| {
            this.claiming = false;
            let again = std::mem::take(&mut this.claim_again);
            match claimed {
                Ok(Some(job)) => {
                    failpoints::passed(Point::JobClaimed);
                    this.begin(job, ctx);
                    this.claim(ctx);
                }
                Ok(None) if again => this.claim(ctx),
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "claiming a job failed; the next poll tries again"),
            }
        }));
    }

    fn begin(&mut self, job: Job, ctx: &mut Context<Self>) {
        if self.is_ending(job.export_id) {
            return self.waiting.push(job);
        }
        let live = self.live.entry(job.export_id).or_insert_with(|| LiveExport {
            running: Arc::default(),
            stop: Arc::new(StopSignal::new()),
            coordinator: None,
            in_hand: 0,
            cancelled: None,
        });
        live.in_hand += 1;
        if self.stopping {
            live.stop.raise(StopReason::NodeStops);
        }
        let (cell, stop) = (Arc::clone(&live.running), Arc::clone(&live.stop));
        if job.kind == JobKind::Coordinate {
            self.coordinating += 1;
            self.coordinate(cell, stop, job, ctx);
        } else {
            self.rendering += 1;
            self.render(cell, stop, job, ctx);
        }
    }

    fn coordinate(&self, cell: Plan, stop: Arc<StopSignal>, job: Job, ctx: &mut Context<Self>) {
        let (context, span) = (Arc::clone(&self.context), span_of(&job));
        let open = async move {
            match cell.get_or_try_init(|| ExportRun::open(&context, &job, stop)).await {
                Ok(running) => Ok((Arc::clone(running), job)),
                Err(trouble) => Err((job.export_id, fail_coordinator(&context, &job, &trouble).await)),
            }
        };
        ctx.spawn(open.instrument(span).into_actor(self).map(|opened, this, ctx| match opened {
            Ok((running, job)) => {
                let export = job.export_id;
                let actor = ExportCoordinator::new(Arc::clone(&this.context), running, job, ctx.address()).start();
                if let Some(live) = this.live.get_mut(&export) {
                    if live.cancelled.is_some() || this.stopping {
                        actor.do_send(Abandon { release: this.stopping });
                    }
                    live.coordinator = Some(actor);
                }
            }
            Err((export, ended)) => {
                if let Some(row) = ended {
                    tell_end(&this.context, &row);
                }
                this.coordinating -= 1;
                this.job_ended(export, ctx);
            }
        }));
    }

    fn render(&self, cell: Plan, stop: Arc<StopSignal>, job: Job, ctx: &mut Context<Self>) {
        let (context, began) = (Arc::clone(&self.context), Instant::now());
        let span = span_of(&job);
        let render = async move {
            let end = match cell.get_or_try_init(|| ExportRun::open(&context, &job, stop)).await {
                Ok(running) => segment_job::run(&context, running, &job).await,
                Err(trouble) => segment_job::fail(&context, &job, &trouble).await,
            };
            crate::metrics::job_ended(job.kind, &end, began.elapsed());
            (job.export_id, end)
        };
        ctx.spawn(render.instrument(span).into_actor(self).map(|(export, end), this, ctx| {
            this.rendering -= 1;
            if let Some(coordinator) = this.live.get(&export).and_then(|live| live.coordinator.as_ref()) {
                coordinator.do_send(Look);
            }
            if matches!(end, JobOutcome::Retried) {
                // Its backoff is about a second; the poll would find it, this finds it sooner.
                ctx.run_later(Duration::from_millis(1050), Self::claim);
            }
            this.job_ended(export, ctx);
        }));
    }

    /// A job of `export` is out of this node's hands.
    fn job_ended(&mut self, export: ExportId, ctx: &mut Context<Self>) {
        if let Some(live) = self.live.get_mut(&export) {
            live.in_hand = live.in_hand.saturating_sub(1);
            if live.in_hand == 0 {
                let ended = self.live.remove(&export);
                match ended.and_then(|live| live.cancelled) {
                    Some(tenant) => self.remove_files(tenant, export, ctx),
                    None => self.begin_waiting(ctx),
                }
            }
        }
        self.claim(ctx);
    }

    /// Whether an ended attempt of `export` still has jobs or files in this node's hands.
    fn is_ending(&self, export: ExportId) -> bool {
        let stopped = |live: &LiveExport| live.stop.reason() == Some(StopReason::Cancelled);
        self.removing.contains(&export) || self.live.get(&export).is_some_and(stopped)
    }

    /// Begins what had to wait for the end of an attempt.
    fn begin_waiting(&mut self, ctx: &mut Context<Self>) {
        for job in std::mem::take(&mut self.waiting) {
            self.begin(job, ctx);
        }
    }

    fn remove_files(&mut self, tenant: TenantId, export: ExportId, ctx: &mut Context<Self>) {
        let context = Arc::clone(&self.context);
        self.removing.insert(export);
        let remove = async move { remove_files(&context, tenant, export).await };
        ctx.spawn(remove.into_actor(self).map(move |(), this, ctx| {
            this.removing.remove(&export);
            this.begin_waiting(ctx);
        }));
    }

    /// Stops what this node does for a cancelled export; its files go with its last job.
    fn halt(&mut self, tenant: TenantId, export: ExportId, ctx: &mut Context<Self>) {
        let Some(live) = self.live.get_mut(&export) else {
            return self.remove_files(tenant, export, ctx);
        };
        live.cancelled = Some(tenant);
        live.stop.raise(StopReason::Cancelled);
        if let Some(coordinator) = &live.coordinator {
            coordinator.do_send(Abandon { release: false });
        }
    }

    fn sweep(&mut self, ctx: &mut Context<Self>) {
        let context = Arc::clone(&self.context);
        let sweep = async move {
            let swept = jobs::sweep(&context.db).await?;
            tell_of_the_dead(&context, &swept).await?;
            Ok::<_, entities::Error>(swept)
        };
        ctx.spawn(sweep.into_actor(self).map(|swept, this, ctx| match swept {
            Ok(swept) if swept.ready > 0 => this.claim(ctx),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "looking for expired leases failed"),
        }));
    }

    /// Goes on with videos whose index was being built when the process ended.
    fn index_unprocessed(&self, ctx: &mut Context<Self>) {
        let context = Arc::clone(&self.context);
        let index = async move {
            match videos::unprocessed(&context.db).await {
                Ok(videos) => {
                    for video in videos {
                        index_and_tell(&context, video).await;
                    }
                }
                Err(error) => tracing::error!(%error, "looking for unprocessed videos failed"),
            }
        };
        ctx.spawn(index.into_actor(self));
    }
}

/// What is logged and traced on behalf of a claimed job says whose it is.
pub(crate) fn span_of(job: &Job) -> Span {
    let Job { export_id: export, tenant_id: tenant, index, attempt, .. } = job;
    let kind = job.kind.to_string().to_lowercase();
    info_span!("job", %export, %tenant, %kind, index, attempt)
}

async fn remove_files(context: &NodeContext, tenant: TenantId, export: ExportId) {
    let (store, prefix) = (Arc::clone(&context.storage), storage::export_prefix(tenant, export));
    let delete = tokio::task::spawn_blocking(move || store.delete_prefix(&prefix)).await;
    if !matches!(delete, Ok(Ok(()))) {
        tracing::warn!(%export, ?delete, "the files of an export could not be removed");
    }
}

/// Counts an export that did not end by its own actor, and tells its listeners.
fn tell_end(context: &NodeContext, row: &Export) {
    crate::metrics::export_ended(row);
    context.progress.do_send(Publish(Progress::of(row)));
}

/// Tells listeners of exports that ended because their coordinators crashed too often: nobody else is left to.
pub async fn tell_of_the_dead(context: &NodeContext, swept: &Swept) -> Result<(), entities::Error> {
    for job in swept.dead.iter().filter(|job| job.kind == JobKind::Coordinate) {
        if let Some(row) = exports::for_worker(&context.db, job).await? {
            tell_end(context, &row);
        }
    }
    Ok(())
}

async fn index_and_tell(context: &NodeContext, video: Video) {
    let id = video.id;
    if let Err(error) = import::index(context, video, Indexing::Later).await {
        tracing::error!(video = %id, %error, "building a frame index failed; the next start tries again");
    }
}

impl Actor for Dispatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1024);
        ctx.run_interval(POLL, Self::claim);
        ctx.run_interval(SWEEP, Self::sweep);
        self.index_unprocessed(ctx);
        self.claim(ctx);
    }
}

/// There may be work to claim.
pub struct Wake;

impl Message for Wake {
    type Result = ();
}

impl Handler<Wake> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        self.claim(ctx);
    }
}

/// An export actor is done with its export.
pub struct CoordinatorEnded {
    pub export: ExportId,
}

impl Message for CoordinatorEnded {
    type Result = ();
}

impl Handler<CoordinatorEnded> for Dispatcher {
    type Result = ();

    fn handle(&mut self, CoordinatorEnded { export }: CoordinatorEnded, ctx: &mut Self::Context) {
        self.coordinating = self.coordinating.saturating_sub(1);
        if let Some(live) = self.live.get_mut(&export) {
            live.coordinator = None;
        }
        self.job_ended(export, ctx);
    }
}

/// Accepts an export and starts it. Answers with its row, in state `queued`.
pub struct StartExport(pub NewRequest);

impl Message for StartExport {
    type Result = Result<Export, RequestError>;
}

impl Handler<StartExport> for Dispatcher {
    type Result = ResponseActFuture<Self, Result<Export, RequestError>>;

    fn handle(&mut self, StartExport(request): StartExport, _: &mut Self::Context) -> Self::Result {
        let context = Arc::clone(&self.context);
        let accept = async move { request::accept(&context, request).await };
        Box::pin(accept.into_actor(self).map(|accepted, this, ctx| {
            this.claim(ctx);
            accepted
        }))
    }
}

/// Cancels an export: it stops within one batch, and its partial files go. Answers with what came of it.
pub struct CancelExport {
    pub tenant: TenantId,
    pub export: ExportId,
}

impl Message for CancelExport {
    type Result = Result<Cancelled, entities::Error>;
}

impl Handler<CancelExport> for Dispatcher {
    type Result = ResponseActFuture<Self, Result<Cancelled, entities::Error>>;

    fn handle(&mut self, CancelExport { tenant, export }: CancelExport, _: &mut Self::Context) -> Self::Result {
        let db = self.context.db.clone();
        let cancel = async move { exports::cancel(&db, tenant, export).await };
        Box::pin(cancel.into_actor(self).map(move |cancelled, this, ctx| {
            if let Ok(Cancelled::Now(row)) = &cancelled {
                failpoints::passed(Point::ExportCancelled);
                tell_end(&this.context, row);
                this.halt(tenant, export, ctx);
            }
            cancelled
        }))
    }
}

/// Exports that were cancelled in the rows, with the video they read: their work here stops, and listeners are told.
pub struct ExportsCancelled {
    pub tenant: TenantId,
    pub exports: Vec<ExportId>,
}

impl Message for ExportsCancelled {
    type Result = ();
}

impl Handler<ExportsCancelled> for Dispatcher {
    type Result = ();

    fn handle(&mut self, ExportsCancelled { tenant, exports }: ExportsCancelled, ctx: &mut Self::Context) {
        for &export in &exports {
            self.halt(tenant, export, ctx);
        }
        let context = Arc::clone(&self.context);
        let tell = async move {
            for export in exports {
                match exports::get(&context.db, tenant, export).await {
                    Ok(Some(row)) => tell_end(&context, &row),
                    Ok(None) => {}
                    Err(error) => tracing::warn!(%export, %error, "reading a cancelled export failed"),
                }
            }
        };
        ctx.spawn(tell.into_actor(self));
    }
}

/// Begins a new attempt of an export that failed or was cancelled. Answers with what came of it.
pub struct RetryExport {
    pub tenant: TenantId,
    pub export: ExportId,
}

impl Message for RetryExport {
    type Result = Result<Retried, RequestError>;
}

impl Handler<RetryExport> for Dispatcher {
    type Result = ResponseActFuture<Self, Result<Retried, RequestError>>;

    fn handle(&mut self, RetryExport { tenant, export }: RetryExport, ctx: &mut Self::Context) -> Self::Result {
        let (context, this) = (Arc::clone(&self.context), ctx.address());
        let retry = async move {
            match exports::get(&context.db, tenant, export).await? {
                None => return Ok(Retried::NotFound),
                Some(row) if !row.state.is_terminal() => return Ok(Retried::Not(Box::new(row))),
                Some(_) => {}
            }
            // What the last attempt still has in hand goes with its files: they must not be the new one's.
            let deadline = Instant::now() + STOP_PATIENCE;
            while this.send(IsEnding(export)).await.unwrap_or(false) && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            retry::retry(&context, tenant, export).await
        };
        Box::pin(retry.into_actor(self).map(|retried, this, ctx| {
            if let Ok(Retried::Now(row)) = &retried {
                this.context.progress.do_send(Publish(Progress::of(row)));
                this.claim(ctx);
            }
            retried
        }))
    }
}

/// Asks whether an ended attempt of an export still has jobs or files in this node's hands.
struct IsEnding(ExportId);

impl Message for IsEnding {
    type Result = bool;
}

impl Handler<IsEnding> for Dispatcher {
    type Result = bool;

    fn handle(&mut self, IsEnding(export): IsEnding, _: &mut Self::Context) -> bool {
        self.is_ending(export)
    }
}

/// Deletes an export with its files; one that is unfinished is cancelled first.
pub struct DeleteExport {
    pub tenant: TenantId,
    pub export: ExportId,
}

impl Message for DeleteExport {
    /// False: the tenant has no such export.
    type Result = Result<bool, entities::Error>;
}

impl Handler<DeleteExport> for Dispatcher {
    type Result = ResponseActFuture<Self, Result<bool, entities::Error>>;

    fn handle(&mut self, DeleteExport { tenant, export }: DeleteExport, ctx: &mut Self::Context) -> Self::Result {
        let (context, this) = (Arc::clone(&self.context), ctx.address());
        let delete = async move {
            // A dispatcher that is gone has no job of the export either.
            if let Ok(cancelled) = this.send(CancelExport { tenant, export }).await {
                cancelled?;
            }
            let gone = matches!(exports::delete(&context.db, tenant, export).await?, Deleted::Gone(_));
            if gone {
                failpoints::passed(Point::ExportDeleted);
                // A cache that is gone answers nobody any more.
                let _ = context.detections.send(Invalidate { tenant, subject: Subject::Export(export) }).await;
            }
            Ok(gone)
        };
        Box::pin(delete.into_actor(self).map(move |deleted, this, ctx| {
            if matches!(deleted, Ok(true)) {
                this.halt(tenant, export, ctx);
            }
            deleted
        }))
    }
}

/// Takes a finished file in as a video. Answers when it was probed and stored, and indexed unless that comes later.
pub struct ImportVideo {
    pub source: NewSource,
    pub indexing: Indexing,
}

impl Message for ImportVideo {
    type Result = Result<Video, ImportError>;
}

impl Handler<ImportVideo> for Dispatcher {
    type Result = ResponseFuture<Result<Video, ImportError>>;

    fn handle(&mut self, import: ImportVideo, _: &mut Self::Context) -> Self::Result {
        let context = Arc::clone(&self.context);
        Box::pin(async move {
            let video = import::import(&context, import.source).await?;
            if import.indexing != Indexing::Later {
                return import::index(&context, video, import.indexing).await;
            }
            let row = video.clone();
            actix::spawn(async move { index_and_tell(&context, row).await });
            Ok(video)
        })
    }
}

/// Stops this node's work and gives its leases back; answers when no job is in hand any more.
pub struct Stop;

impl Message for Stop {
    type Result = ();
}

impl Handler<Stop> for Dispatcher {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Stop, ctx: &mut Self::Context) -> Self::Result {
        self.stopping = true;
        for job in std::mem::take(&mut self.waiting) {
            let db = self.context.db.clone();
            let release = async move {
                if let Err(error) = jobs::release(&db, &job).await {
                    tracing::warn!(export = %job.export_id, %error, "giving a lease back failed; it will run out");
                }
            };
            ctx.spawn(release.into_actor(self));
        }
        for live in self.live.values() {
            live.stop.raise(StopReason::NodeStops);
            if let Some(coordinator) = &live.coordinator {
                coordinator.do_send(Abandon { release: true });
            }
        }
        let (this, deadline) = (ctx.address(), Instant::now() + STOP_PATIENCE);
        let ended = async move {
            while this.send(JobsInHand).await.is_ok_and(|jobs| jobs > 0) && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        Box::pin(ended.into_actor(self))
    }
}

/// Asks how many jobs this node has in hand, or is about to have.
pub struct JobsInHand;

impl Message for JobsInHand {
    type Result = usize;
}

impl Handler<JobsInHand> for Dispatcher {
    type Result = usize;

    fn handle(&mut self, _: JobsInHand, _: &mut Self::Context) -> Self::Result {
        // What is being claimed comes in a moment, and must not find the node gone.
        self.coordinating + self.rendering + usize::from(self.claiming)
    }
}
