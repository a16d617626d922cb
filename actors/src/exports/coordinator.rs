//! The actor of one running export, on the node that holds its `coordinate` lease.
//!
//! [Steps](super::steps): plan the segments and enqueue their jobs → watch them finish → join them → publish the result →
//! complete. When its node dies, another adopts the export from its rows and goes on with what is missing. What follows
//! which event is decided by [`CoordinatorState`]; progress is computed from the counters of the [run](super::run).

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, Recipient, WrapFuture};
use entities::exports::{self, Export, ExportState};
use entities::jobs::{self, Job};
use tracing::Instrument;

use super::coordinator_state::{Action, CoordinatorState, StepEnd};
use super::failure::ExportFailure;
use super::job::{LEASE, record_coordinator_failure, span_of};
use super::run::ExportRun;
use super::steps::{Step, step};
use crate::context::NodeContext;
use crate::failpoints::{self, Point};
use crate::processes::stop::StopReason;
use crate::progress::hub::Publish;
use crate::progress::message::Progress;

/// See the [module](self).
pub struct ExportCoordinator {
    context: Arc<NodeContext>,
    run: Arc<ExportRun>,
    job: Job,
    /// Where its end is reported.
    dispatcher: Recipient<CoordinatorEvent>,
    row: Export,
    state: CoordinatorState,
    /// Why the last step failed, until it is recorded.
    failure: Option<ExportFailure>,
    stored_at: Instant,
    stored_progress: f64,
    /// The meter's count of advances when progress was last published.
    published_beats: Option<u64>,
}

/// What a coordinator reports to the dispatcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum CoordinatorEvent {
    /// It has enqueued jobs.
    Enqueued,
    /// It is done with its export.
    Ended(entities::ExportId),
}

/// How often progress is computed and offered to the hub, which spaces it.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// How often progress is stored for readers of the row, and the rows are read without an event.
const STORE_INTERVAL: Duration = Duration::from_secs(1);
/// Share of the progress bar that rendering takes; joining and publishing have the rest.
const RENDERING_SHARE: f64 = 0.97;

impl ExportCoordinator {
    /// The coordinator of `run`, for which `job` was claimed.
    pub fn new(
        context: Arc<NodeContext>,
        run: Arc<ExportRun>,
        job: Job,
        dispatcher: Recipient<CoordinatorEvent>,
    ) -> Self {
        let row = run.export.clone();
        Self {
            context,
            run,
            job,
            dispatcher,
            row,
            state: CoordinatorState::default(),
            failure: None,
            stored_at: Instant::now(),
            stored_progress: 0.0,
            published_beats: None,
        }
    }

    fn act(&mut self, action: Action, ctx: &mut Context<Self>) {
        match action {
            Action::Wait => {}
            Action::RunStep => self.run_step(ctx),
            Action::RecordFailure => self.record_failure(ctx),
            Action::End => self.end(ctx),
            Action::Leave => self.leave(ctx),
        }
    }

    fn run_step(&mut self, ctx: &mut Context<Self>) {
        let (context, run, job) = (Arc::clone(&self.context), Arc::clone(&self.run), self.job.clone());
        let span = span_of(&job);
        let step = async move { step(&context, &run, &job).await }.instrument(span);
        ctx.spawn(step.into_actor(self).map(|step, this, ctx| {
            let end = match step {
                Ok(Step::Waiting(row)) => {
                    this.row = *row;
                    this.dispatcher.do_send(CoordinatorEvent::Enqueued);
                    StepEnd::Waiting
                }
                Ok(Step::Ended(row)) => {
                    this.row = *row;
                    StepEnd::Ended
                }
                Ok(Step::NotHeld) => StepEnd::NotHeld,
                Err(failure) => {
                    this.failure = Some(failure);
                    StepEnd::Failed { stopping: this.run.render.stop.is_raised() }
                }
            };
            let action = this.state.on_step_end(end);
            this.act(action, ctx);
        }));
    }

    /// The coordinator itself failed: its job is tried again, or the export fails with the reason.
    fn record_failure(&mut self, ctx: &mut Context<Self>) {
        let (context, run, job) = (Arc::clone(&self.context), Arc::clone(&self.run), self.job.clone());
        let failure = self.failure.take().unwrap_or_else(|| ExportFailure::other("the reason is unknown"));
        let record = async move {
            let failure = run.cause(&context, failure).await;
            record_coordinator_failure(&context, &job, &failure).await
        };
        ctx.spawn(record.into_actor(self).map(|failed, this, ctx| {
            let ended = failed.is_some();
            this.row = failed.unwrap_or_else(|| this.row.clone());
            let action = this.state.on_failure_recorded(ended);
            this.act(action, ctx);
        }));
    }

    /// The export has its final state: it is counted, and subscribers are notified.
    fn end(&mut self, ctx: &mut Context<Self>) {
        tracing::info!(export = %self.row.id, state = %self.row.state, "export ended");
        if self.row.state != ExportState::Cancelled {
            // A cancelled one was counted by the cancellation.
            crate::metrics::export_ended(&self.row);
        }
        if self.row.state == ExportState::Failed {
            // What other segments still render would be committed too late.
            self.run.render.stop.raise(StopReason::Cancelled);
        }
        failpoints::passed(Point::EndPublished);
        self.context.progress.do_send(Publish(Progress::of(&self.row)));
        self.leave(ctx);
    }

    fn leave(&mut self, ctx: &mut Context<Self>) {
        self.dispatcher.do_send(CoordinatorEvent::Ended(self.row.id));
        ctx.stop();
    }

    /// Computes the progress from the counters, publishes it if anything advanced, and stores it once a second. Exports
    /// that wait for their turn, hundreds perhaps, publish and store nothing.
    fn update_progress(&mut self, ctx: &mut Context<Self>) {
        if self.row.state != ExportState::Rendering {
            return;
        }
        let meter = &self.run.render.meter;
        let (done, here) = meter.frames();
        let total = self.run.kind.frames().max(1);
        let seconds = meter.began.elapsed().as_secs_f64();
        let fps = if here > 0 { here as f64 / seconds } else { 0.0 };
        self.row.progress = self.row.progress.max(rendering_progress(done, total));
        self.row.frames_done = done as i64;
        let beats = meter.beats();
        if self.published_beats.replace(beats) != Some(beats) {
            self.publish_progress(fps, total.saturating_sub(done));
        }
        if self.stored_at.elapsed() >= STORE_INTERVAL {
            self.stored_at = Instant::now();
            self.store_progress(ctx);
            let action = self.state.on_reevaluate();
            self.act(action, ctx);
        }
    }

    fn publish_progress(&self, fps: f64, frames_left: u64) {
        let meter = &self.run.render.meter;
        // The row has the seconds of other nodes and of earlier runs, the counters those of unfinished segments. Not
        // `sum`, which is -0 for no device.
        let here = meter.devices().iter().fold(0.0, |sum, device| sum + device.device_seconds);
        let device_seconds = here.max(self.row.device_seconds);
        let progress = Progress {
            fps,
            eta_seconds: (fps > 0.0).then(|| frames_left as f64 / fps),
            device_seconds,
            cost: device_seconds * self.context.live.borrow().live.planner.price_per_device_second,
            warnings: serde_json::json!(meter.warnings()),
            ..Progress::of(&self.row)
        };
        // A full mailbox skips one of many updates; the next follows at once.
        let _ = self.context.progress.try_send(Publish(progress));
    }

    /// Stores progress if there was any: each write costs the whole node a turn of its only writer.
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
        let (context, run, job) = (Arc::clone(&self.context), Arc::clone(&self.run), self.job.clone());
        let renew = async move {
            let renewed = jobs::renew(&context.db, &job, LEASE).await?;
            if !renewed {
                run.stop_if_over(&context, &job).await?;
            }
            Ok::<_, entities::Error>(renewed)
        };
        ctx.spawn(renew.into_actor(self).map(|renewed, this, ctx| match renewed {
            Ok(true) => {}
            Ok(false) => {
                let action = this.state.on_lease_lost();
                this.act(action, ctx);
            }
            Err(error) => tracing::warn!(export = %this.row.id, %error, "renewing a lease failed"),
        }));
    }
}

/// The progress bar while `done` of `total` output frames are rendered.
fn rendering_progress(done: u64, total: u64) -> f64 {
    (done as f64 / total.max(1) as f64).min(1.0) * RENDERING_SHARE
}

impl Actor for ExportCoordinator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(PROGRESS_INTERVAL, Self::update_progress);
        ctx.run_interval(LEASE / 3, Self::renew);
        let action = self.state.on_reevaluate();
        self.act(action, ctx);
    }
}

/// A job of the export has ended: read the rows and do the next step.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reevaluate;

impl Handler<Reevaluate> for ExportCoordinator {
    type Result = ();

    fn handle(&mut self, _: Reevaluate, ctx: &mut Self::Context) {
        let action = self.state.on_reevaluate();
        self.act(action, ctx);
    }
}

/// The export was cancelled or the node stops: leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum Abandon {
    /// The export was cancelled.
    Cancelled,
    /// The node stops: the lease is released for the next start.
    NodeStops,
}

impl Handler<Abandon> for ExportCoordinator {
    type Result = ();

    fn handle(&mut self, abandon: Abandon, ctx: &mut Self::Context) {
        if abandon == Abandon::Cancelled {
            let action = self.state.on_abandon();
            return self.act(action, ctx);
        }
        let (db, job, progress) = (self.context.db.clone(), self.job.clone(), self.row.progress);
        let release = async move {
            // Stored, so that the progress that was published does not go back at the next start.
            if let Err(error) = exports::set_progress(&db, &job, progress, "waiting for the next start").await {
                tracing::warn!(export = %job.export_id, %error, "storing progress failed");
            }
            if let Err(error) = jobs::release(&db, &job).await {
                tracing::warn!(export = %job.export_id, %error, "releasing a lease failed; it will run out");
            }
        };
        ctx.spawn(release.into_actor(self).map(|(), this, ctx| this.leave(ctx)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendering_has_its_share_of_the_bar() {
        assert_eq!(rendering_progress(0, 100), 0.0);
        assert_eq!(rendering_progress(50, 100), 0.485);
        assert_eq!(rendering_progress(100, 100), RENDERING_SHARE);
        assert_eq!(rendering_progress(300, 100), RENDERING_SHARE, "never more than its share");
        assert_eq!(rendering_progress(0, 0), 0.0);
    }
}
