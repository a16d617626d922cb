//! The actor of one running export, on the node that holds its `coordinate` lease.
//!
//! Steps: plan the segments and enqueue their jobs → watch them finish and tell progress → join them → publish the
//! result → complete. When its node dies, another adopts the export from its rows and goes on with what is missing.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use entities::exports::{self, Export, ExportState, Finished, ResultFile};
use entities::jobs::{self, Failure, Job, JobKind, JobState, NewJob};
use entities::segments::{self, Segment, SegmentKind};
use tracing::Instrument;

use crate::detections::cache::Invalidate;
use crate::exports::dispatcher::{CoordinatorEnded, Dispatcher, Wake, span_of};
use crate::exports::estimate;
use crate::exports::failure::ExportFailure;
use crate::exports::report::{Report, Totals};
use crate::exports::run::ExportRun;
use crate::exports::segment_job::{LEASE, book, on_thread, remove_leftover, sum};
use crate::failpoints::{self, Point};
use crate::node::NodeContext;
use crate::progress::hub::{Progress, Publish};
use crate::render::{Joined, RenderError, SegmentPlan, StopReason};
use crate::storage;
use crate::videos::import::blocking;

/// See the [module](self).
pub struct ExportCoordinator {
    context: Arc<NodeContext>,
    running: Arc<ExportRun>,
    job: Job,
    dispatcher: Addr<Dispatcher>,
    row: Export,
    /// A look at the rows, or the joining, is under way.
    busy: bool,
    /// Something changed while it was.
    look_again: bool,
    /// The export was cancelled while a step was under way.
    halted: bool,
    stored_at: Instant,
    stored_progress: f64,
    /// What the meter had counted when progress was last told.
    told_beats: Option<u64>,
}

/// How often progress is computed and offered to the hub, which spaces it.
const TELL: Duration = Duration::from_millis(100);
/// How often progress is stored for readers of the row, and the rows are looked at without being told.
const STORE: Duration = Duration::from_secs(1);
/// Share of the progress bar that rendering takes; joining and publishing have the rest.
const RENDERING_SHARE: f64 = 0.97;

impl ExportCoordinator {
    /// The actor of `running`, for which `job` was claimed.
    pub fn new(context: Arc<NodeContext>, running: Arc<ExportRun>, job: Job, dispatcher: Addr<Dispatcher>) -> Self {
        let row = running.export.clone();
        Self {
            context,
            running,
            job,
            dispatcher,
            row,
            busy: false,
            look_again: false,
            halted: false,
            stored_at: Instant::now(),
            stored_progress: 0.0,
            told_beats: None,
        }
    }

    /// Looks at the rows and does the next step.
    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.busy {
            self.look_again = true;
            return;
        }
        self.busy = true;
        let (context, running, job) = (Arc::clone(&self.context), Arc::clone(&self.running), self.job.clone());
        let span = span_of(&job);
        let step = async move { step(&context, &running, &job).await }.instrument(span);
        ctx.spawn(step.into_actor(self).map(|step, this, ctx| {
            this.busy = false;
            if this.halted {
                return this.leave(ctx);
            }
            match step {
                Ok(Step::Wait(row)) => {
                    this.row = *row;
                    this.dispatcher.do_send(Wake);
                    if std::mem::take(&mut this.look_again) {
                        this.look(ctx);
                    }
                }
                Ok(Step::Ended(row)) => this.end(*row, ctx),
                Ok(Step::NotOurs) => this.leave(ctx),
                Err(trouble) => this.give_up(trouble, ctx),
            }
        }));
    }

    /// The coordinator itself failed: it is tried again, or the export fails with the reason.
    fn give_up(&mut self, trouble: ExportFailure, ctx: &mut Context<Self>) {
        if self.running.run.stop.is_raised() {
            return self.leave(ctx);
        }
        self.busy = true;
        let (context, running, job) = (Arc::clone(&self.context), Arc::clone(&self.running), self.job.clone());
        let book = async move {
            let trouble = running.cause(&context, trouble).await;
            fail_coordinator(&context, &job, &trouble).await
        };
        ctx.spawn(book.into_actor(self).map(|failed, this, ctx| match failed {
            Some(row) => this.end(row, ctx),
            None => this.leave(ctx),
        }));
    }

    /// The export has its final state: everybody is told, and what nobody needs any more goes.
    fn end(&mut self, row: Export, ctx: &mut Context<Self>) {
        tracing::info!(export = %row.id, state = %row.state, "export ended");
        if row.state != ExportState::Cancelled {
            // Whoever cancelled it has counted it.
            crate::metrics::export_ended(&row);
        }
        if row.state == ExportState::Failed {
            // What other segments still render would be committed too late.
            self.running.run.stop.raise(StopReason::Cancelled);
        }
        failpoints::passed(Point::EndTold);
        self.context.progress.do_send(Publish(Progress::of(&row)));
        self.row = row;
        self.leave(ctx);
    }

    fn leave(&mut self, ctx: &mut Context<Self>) {
        self.dispatcher.do_send(CoordinatorEnded { export: self.row.id });
        ctx.stop();
    }

    /// Computes the progress from the counters, tells it if anything moved, and now and then stores it. Exports that wait
    /// their turn, hundreds perhaps, keep listeners and rows in peace.
    fn tell(&mut self, ctx: &mut Context<Self>) {
        if self.row.state != ExportState::Rendering {
            return;
        }
        let meter = &self.running.run.meter;
        let (done, here) = meter.frames();
        let total = self.running.kind.frames().max(1);
        let seconds = meter.began.elapsed().as_secs_f64();
        let fps = if here > 0 { here as f64 / seconds } else { 0.0 };
        let progress = (done as f64 / total as f64).min(1.0) * RENDERING_SHARE;
        self.row.progress = self.row.progress.max(progress);
        self.row.frames_done = done as i64;
        let beats = meter.beats();
        if self.told_beats.replace(beats) != Some(beats) {
            self.publish_progress(fps, total.saturating_sub(done));
        }
        if self.stored_at.elapsed() >= STORE {
            self.stored_at = Instant::now();
            self.store_progress(ctx);
            self.look(ctx);
        }
    }

    fn publish_progress(&self, fps: f64, frames_left: u64) {
        let meter = &self.running.run.meter;
        let told = Progress {
            fps,
            eta_seconds: (fps > 0.0).then(|| frames_left as f64 / fps),
            device_seconds: meter.devices().iter().map(|device| device.device_seconds).sum(),
            warnings: serde_json::json!(meter.warnings()),
            ..Progress::of(&self.row)
        };
        // A full mailbox skips one of many updates; the next follows at once.
        let _ = self.context.progress.try_send(Publish(told));
    }

    /// Writes progress down if there was any: each write costs the whole node a turn of its only writer.
    fn store_progress(&mut self, ctx: &mut Context<Self>) {
        if self.row.progress <= self.stored_progress {
            return;
        }
        self.stored_progress = self.row.progress;
        let (db, job, progress) = (self.context.db.clone(), self.job.clone(), self.row.progress);
        let store = async move {
            if let Err(error) = exports::set_progress(&db, &job, progress, "rendering").await {
                tracing::warn!(export = %job.export_id, %error, "storing progress failed");
            }
        };
        ctx.spawn(store.into_actor(self));
    }

    fn renew(&mut self, ctx: &mut Context<Self>) {
        let (db, job) = (self.context.db.clone(), self.job.clone());
        let renew = async move { jobs::renew(&db, &job, LEASE).await };
        ctx.spawn(renew.into_actor(self).map(|renewed, this, ctx| match renewed {
            Ok(true) => {}
            // Somebody else coordinates, or the export was cancelled.
            Ok(false) if !this.busy => this.leave(ctx),
            Ok(false) => {}
            Err(error) => tracing::warn!(export = %this.row.id, %error, "renewing a lease failed"),
        }));
    }
}

impl Actor for ExportCoordinator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(TELL, Self::tell);
        ctx.run_interval(LEASE / 3, Self::renew);
        self.look(ctx);
    }
}

/// A job of the export has ended: look at the rows.
pub struct Look;

impl Message for Look {
    type Result = ();
}

impl Handler<Look> for ExportCoordinator {
    type Result = ();

    fn handle(&mut self, _: Look, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}

/// The export was cancelled or the node stops: leave it alone. `release` gives the lease back for the next start.
pub struct Abandon {
    pub release: bool,
}

impl Message for Abandon {
    type Result = ();
}

impl Handler<Abandon> for ExportCoordinator {
    type Result = ();

    fn handle(&mut self, halt: Abandon, ctx: &mut Self::Context) {
        if !halt.release {
            // A step under way is waited for, so that the files it makes go with the others.
            self.halted = true;
            if !self.busy {
                self.leave(ctx);
            }
            return;
        }
        let (db, job, progress) = (self.context.db.clone(), self.job.clone(), self.row.progress);
        let release = async move {
            // What was told must not go back at the next start.
            if let Err(error) = exports::set_progress(&db, &job, progress, "waiting for the next start").await {
                tracing::warn!(export = %job.export_id, %error, "storing progress failed");
            }
            if let Err(error) = jobs::release(&db, &job).await {
                tracing::warn!(export = %job.export_id, %error, "giving a lease back failed; it will run out");
            }
        };
        ctx.spawn(release.into_actor(self).map(|(), this, ctx| this.leave(ctx)));
    }
}

/// What a look at the rows led to.
enum Step {
    /// Jobs are under way.
    Wait(Box<Export>),
    /// The export is complete or failed.
    Ended(Box<Export>),
    /// The export was cancelled, or is somebody else's by now.
    NotOurs,
}

async fn step(context: &Arc<NodeContext>, running: &Arc<ExportRun>, job: &Job) -> Result<Step, ExportFailure> {
    let row = exports::for_worker(&context.db, job).await?;
    let Some(row) = row.filter(|row| !row.state.is_terminal()) else { return Ok(Step::NotOurs) };
    match row.state {
        ExportState::Queued | ExportState::Preparing => prepare(context, running, job).await,
        _ => watch(context, running, job, row).await,
    }
}

/// Enqueues a job for each part that has none yet.
async fn prepare(context: &Arc<NodeContext>, running: &Arc<ExportRun>, job: &Job) -> Result<Step, ExportFailure> {
    let told = |error: entities::Error| ExportFailure::from(error).while_doing("planning the segments");
    if let Some(reason) = running.kind.hopeless() {
        return fail(context, job, exports::problem("render_failed", &reason)).await;
    }
    if !advance(context, job, ExportState::Preparing).await? {
        return Ok(Step::NotOurs);
    }
    let known = jobs::of_export(&context.db, job).await.map_err(told)?;
    let new = |kind, index, cost| NewJob { export: job.export_id, tenant: job.tenant_id, kind, index, cost };
    let segments = running.kind.segments();
    let frame_cost = estimate::frame_cost(context, running.kind.as_ref(), &running.run.profile);
    let cost = |part: &SegmentPlan| part.frames as f64 * frame_cost;
    let parts = segments.iter().map(|part| new(JobKind::Segment, part.index as i32, cost(part)));
    let sound = running.kind.has_audio().then(|| new(JobKind::Audio, 0, 0.0));
    let missing: Vec<_> = parts
        .chain(sound)
        .filter(|part| known.iter().all(|known| (known.kind, known.index) != (part.kind, part.index)))
        .collect();
    let tx = context.db.begin().await.map_err(told)?;
    jobs::enqueue_all(&tx, &missing).await.map_err(told)?;
    let planned = failpoints::at(Point::PartsPlanned);
    planned.map_err(|source| RenderError::Io { doing: "planning the segments".into(), source })?;
    tx.commit().await.map_err(told)?;
    failpoints::passed(Point::PartsEnqueued);
    if !advance(context, job, ExportState::Rendering).await? {
        return Ok(Step::NotOurs);
    }
    match exports::for_worker(&context.db, job).await.map_err(told)? {
        // With no parts there is nothing to wait for.
        Some(row) if segments.is_empty() && !running.kind.has_audio() => watch(context, running, job, row).await,
        _ => ended_or_waiting(context, job).await,
    }
}

/// Joins and publishes when every part is committed; fails when one is dead.
async fn watch(
    context: &Arc<NodeContext>,
    running: &Arc<ExportRun>,
    job: &Job,
    row: Export,
) -> Result<Step, ExportFailure> {
    let told = |error: entities::Error| ExportFailure::from(error).while_doing("watching the segments");
    let jobs = jobs::of_export(&context.db, job).await.map_err(told)?;
    if let Some(dead) = jobs.iter().find(|job| job.state == JobState::Dead) {
        return fail(context, job, dead.problem()).await;
    }
    let rows = segments::for_worker(&context.db, job).await.map_err(told)?;
    let (video, audio): (Vec<Segment>, Vec<Segment>) = rows.into_iter().partition(|row| row.kind == SegmentKind::Video);
    let meter = &running.run.meter;
    if meter.frames().1 == 0 {
        meter.frames_found(video.iter().map(|row| row.frames as u64).sum());
    }
    let whole = video.len() == running.kind.segments().len() && audio.len() == usize::from(running.kind.has_audio());
    if whole { publish(context, running, job, &video, audio.first()).await } else { Ok(Step::Wait(Box::new(row))) }
}

/// Joins the parts, stores the result and completes the export.
async fn publish(
    context: &Arc<NodeContext>,
    running: &Arc<ExportRun>,
    job: &Job,
    video: &[Segment],
    audio: Option<&Segment>,
) -> Result<Step, ExportFailure> {
    if !advance(context, job, ExportState::Assembling).await? {
        return Ok(Step::NotOurs);
    }
    let out = running.work_file(context, "result", running.attempts(job));
    let published = join_and_store(context, running, job, video, audio, &out).await;
    if !matches!(published, Ok(Some(_))) {
        remove_leftover(&out);
    }
    let Some((joined, result)) = published? else { return Ok(Step::NotOurs) };
    let told = |error: entities::Error| ExportFailure::from(error).while_doing("publishing the result");
    for warning in running.run.meter.warnings() {
        exports::warn(&context.db, job, &warning).await.map_err(told)?;
    }
    let report = report(running, joined, video);
    let finished = Finished {
        cost: report.device_seconds * context.live.borrow().live.planner.price_per_device_second,
        report: serde_json::to_value(&report).map_err(ExportFailure::other)?,
        result: Some(result.clone()),
    };
    // Before the export is complete: whoever reads detections then gets them whole.
    for subject in running.kind.subjects(job.export_id) {
        if context.detections.send(Invalidate { tenant: job.tenant_id, subject }).await.is_err() {
            tracing::error!("the detection cache is gone");
        }
    }
    if !exports::finish(&context.db, job, finished).await.map_err(told)? {
        return Ok(Step::NotOurs);
    }
    failpoints::passed(Point::ExportFinished);
    remove_parts(context, job, &result.key).await;
    failpoints::passed(Point::SegmentsRemoved);
    ended_or_waiting(context, job).await
}

/// Joins the parts into `out` and stores it; None when the export is not ours any more.
async fn join_and_store(
    context: &Arc<NodeContext>,
    running: &Arc<ExportRun>,
    job: &Job,
    video: &[Segment],
    audio: Option<&Segment>,
    out: &Path,
) -> Result<Option<(Joined, ResultFile)>, ExportFailure> {
    check_parts(context, video.iter().chain(audio)).await?;
    let path_of = |row: &Segment| context.storage.local_path(&row.storage_key);
    let parts: Vec<PathBuf> = video.iter().map(path_of).collect();
    let sound = audio.map(path_of);
    let joined = {
        let (running, out) = (Arc::clone(running), out.to_owned());
        on_thread("join".into(), move || {
            failpoints::at(Point::Joining).map_err(|source| RenderError::Io { doing: "joining".into(), source })?;
            running.kind.join(&running.run, &parts, sound.as_deref(), &out)
        })
    };
    let joined = joined.await.map_err(|error| ExportFailure::from(error).while_doing("joining the segments"))?;
    failpoints::passed(Point::Joined);
    if !advance(context, job, ExportState::Publishing).await? {
        return Ok(None);
    }
    let extension = running.kind.extension();
    let key = storage::result_key(job.tenant_id, job.export_id, running.attempts(job), extension);
    let stored = {
        let (store, key, out) = (Arc::clone(&context.storage), key.clone(), out.to_owned());
        on_thread("publish".into(), move || {
            let sums = sum(&out)?;
            store.put_file(&key, &out)?;
            failpoints::at(Point::ResultStored)
                .map_err(|source| RenderError::Io { doing: "completing".into(), source })?;
            Ok(sums)
        })
    };
    let stored = stored.await.map_err(|error| ExportFailure::from(error).while_doing("publishing the result"));
    let (bytes, sha256) = stored?;
    Ok(Some((joined, ResultFile { key, bytes: bytes as i64, etag: sha256[..32].to_owned() })))
}

/// A finished segment is there and whole, or storage has lost it.
async fn check_parts(context: &NodeContext, parts: impl Iterator<Item = &Segment>) -> Result<(), ExportFailure> {
    let parts: Vec<Segment> = parts.cloned().collect();
    let store = Arc::clone(&context.storage);
    let check = move || {
        parts.iter().try_for_each(|part| match store.size(&part.storage_key) {
            Ok(bytes) if bytes == part.bytes.unsigned_abs() => Ok(()),
            Ok(bytes) => Err(format!("finished {} {} has {bytes} of {} bytes", part.kind, part.index, part.bytes)),
            Err(error) => Err(format!("finished {} {} is gone: {error}", part.kind, part.index)),
        })
    };
    blocking("looking at the segments", check).await.map_err(ExportFailure::other)?.map_err(ExportFailure::lost)
}

fn report(running: &ExportRun, joined: Joined, video: &[Segment]) -> Report {
    let totals = Totals {
        frames_inferred: video.iter().map(|row| row.frames_inferred as u64).sum(),
        device_seconds: video.iter().map(|row| row.device_seconds).sum(),
    };
    let profile = serde_json::to_value(&running.run.profile).unwrap_or_default();
    let report = Report::new(joined, &running.run.meter, totals, profile, running.export.simulated);
    Report { details: running.kind.details(), ..report }
}

/// The result is published: its parts, and what earlier tries left, are of no more use.
async fn remove_parts(context: &NodeContext, job: &Job, result: &str) {
    let (store, prefix) = (Arc::clone(&context.storage), storage::export_prefix(job.tenant_id, job.export_id));
    let kept = HashSet::from([result.to_owned()]);
    let delete = move || Ok(store.delete_all_but(&prefix, &kept)?);
    if let Err(error) = on_thread("sweep".into(), delete).await {
        tracing::warn!(export = %job.export_id, %error, "finished segments could not be removed");
    }
}

/// Moves the export on and tells so. False: it is not ours any more.
async fn advance(context: &NodeContext, job: &Job, state: ExportState) -> Result<bool, ExportFailure> {
    let told =
        |error: entities::Error| ExportFailure::from(error).while_doing(format!("noting that the export is {state}"));
    let moved = exports::advance(&context.db, job, state).await.map_err(told)?;
    failpoints::passed(Point::StateAdvanced);
    if let Some(row) = exports::for_worker(&context.db, job).await.map_err(told)?.filter(|_| moved) {
        // A full mailbox skips one of many updates.
        let _ = context.progress.try_send(Publish(Progress::of(&row)));
    }
    Ok(moved)
}

async fn ended_or_waiting(context: &NodeContext, job: &Job) -> Result<Step, ExportFailure> {
    let row = exports::for_worker(&context.db, job).await?;
    Ok(match row {
        None => Step::NotOurs,
        Some(row) if row.state.is_terminal() => Step::Ended(Box::new(row)),
        Some(row) => Step::Wait(Box::new(row)),
    })
}

/// Books a failure of the coordinator, which fails the export with its third. Returns the row if that was its end.
pub async fn fail_coordinator(context: &NodeContext, job: &Job, trouble: &ExportFailure) -> Option<Export> {
    let ExportFailure { code, detail } = trouble;
    tracing::warn!(export = %job.export_id, code, detail, "coordinating an export failed");
    let failure = book(context, job, trouble).await;
    failpoints::passed(Point::FailureBooked);
    match failure {
        Ok(Failure::Dead) => exports::for_worker(&context.db, job).await.ok().flatten(),
        Ok(Failure::Retry { .. } | Failure::Lost) => None,
        Err(error) => {
            tracing::error!(export = %job.export_id, %error, "booking a failure failed; the lease will run out");
            None
        }
    }
}

/// Ends the export as failed.
async fn fail(context: &NodeContext, job: &Job, problem: serde_json::Value) -> Result<Step, ExportFailure> {
    exports::fail(&context.db, job, problem).await?;
    failpoints::passed(Point::ExportFailed);
    ended_or_waiting(context, job).await
}
