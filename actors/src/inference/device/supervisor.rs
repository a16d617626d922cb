//! The actor that owns one device: takes the next batch from the [`FrameQueue`] when its worker is nearly free,
//! hands it to the worker, answers, measures, and replaces a worker that fails or stalls.
//!
//! Steps: start a worker → it loads its models → request a batch from the queue when the worker's present one is
//! nearly done → a served batch is answered; a failed one goes back to the queue, for another device; too many faults
//! in a row, a panic or a missing result end the worker, and the next starts after a backoff. The device's state after
//! each of these events is decided by its [`Health`].

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, MessageResult, SpawnHandle, StreamHandler,
    WrapFuture,
};
use chrono::Utc;
use tokio::sync::{mpsc, watch};

use super::engine::EngineFactory;
use super::health::{DeviceHealth, Health, Verdict};
use super::prefetch::Prefetch;
use super::state::{self, DeviceState};
use super::utilization::UtilizationWindow;
use super::worker::{Batch, IN_HAND, Worker, WorkerEvent, WorkerNews};
use crate::inference::profile::DeviceClass;
use crate::inference::queue::{DeviceFault, FrameJob, FrameQueue, Output, Served, Wanted};

/// What one device is.
#[derive(Clone)]
pub struct DeviceSetup {
    /// `cpu:0`, `cuda:1`, `sim:3`.
    pub id: Arc<str>,
    pub class: DeviceClass,
    /// Most frames in one batch.
    pub batch: usize,
    /// A batch that is not answered within this time has stalled.
    pub stall: Duration,
    pub factory: EngineFactory,
    /// Models that the factory loads before a worker is ready.
    pub warm: Vec<String>,
}

/// See the [module](self).
pub struct DeviceSupervisor {
    setup: DeviceSetup,
    queue: Arc<FrameQueue>,
    health: Health,
    state: DeviceState,
    /// Publishes `state` to watchers.
    shown: watch::Sender<DeviceState>,
    events: mpsc::Sender<WorkerEvent>,
    inbox: Option<mpsc::Receiver<WorkerEvent>>,
    worker: Option<Worker>,
    /// Abandoned workers whose threads may still exist.
    left: Vec<Weak<()>>,
    /// Batches handed to this worker, the running one first.
    in_hand: VecDeque<Batch>,
    /// When the unfinished work of the worker began: loading its models, or the batch it runs.
    owing_since: Option<Instant>,
    /// The pending request to the queue.
    asking: Option<SpawnHandle>,
    /// The timer of the next request to the queue.
    ask_later: Option<SpawnHandle>,
    /// The timer that starts the next worker.
    restart: Option<SpawnHandle>,
    /// Frames that are served only to load their model.
    loads: VecDeque<Batch>,
    prefetch: Prefetch,
    busy: UtilizationWindow,
}

/// Longest reason of a fault, in bytes: it is kept in rows, and shown.
const MOST_REASON_BYTES: usize = 4096;
/// How often it checks for missing results.
const TICK: Duration = Duration::from_millis(250);
/// Loading models may take so many times as long as answering a batch.
const LOAD_STALLS: u32 = 5;
/// Threads that do not return, until no further worker is started: their processes hold memory, the device's too.
const MOST_HUNG: usize = 3;

impl DeviceSupervisor {
    /// A supervisor to be started, and the channel on which it shows its state.
    pub fn new(setup: DeviceSetup, queue: Arc<FrameQueue>) -> (Self, watch::Receiver<DeviceState>) {
        let state = DeviceState::new(setup.id.clone(), setup.class, setup.batch);
        let (shown, watched) = watch::channel(state.clone());
        // A worker sends at most three events a batch, and blocks while the channel is full.
        let (events, inbox) = mpsc::channel(8);
        let supervisor = Self {
            setup,
            queue,
            health: Health::new(),
            state,
            shown,
            events,
            inbox: Some(inbox),
            worker: None,
            left: Vec::new(),
            in_hand: VecDeque::new(),
            owing_since: None,
            asking: None,
            ask_later: None,
            restart: None,
            loads: VecDeque::new(),
            prefetch: Prefetch::default(),
            busy: UtilizationWindow::new(Instant::now()),
        };
        (supervisor, watched)
    }

    /// Publishes what has changed to watchers and to the queue.
    fn show(&mut self) {
        let health = self.health.now();
        if health != self.state.health {
            let (from, to) = (self.state.health.name(), health.name());
            tracing::info!(device = %self.setup.id, from, to, "a device's health changed");
            self.state.health = health;
            self.state.since = Utc::now();
        }
        self.queue.set_ready(&self.setup.id, self.setup.class, health == DeviceHealth::Ready);
        self.state.in_hand = self.in_hand.iter().map(Vec::len).sum();
        self.state.measure();
        self.shown.send_replace(self.state.clone());
    }

    fn start_worker(&mut self, ctx: &mut Context<Self>) {
        self.restart = None;
        self.state.next_try = None;
        if self.hung_threads() >= MOST_HUNG {
            // Tried again when one of them returns, or an operator enables the device.
            self.health.leave();
            return self.show();
        }
        self.health.loading();
        if self.state.generation > 1 {
            self.state.note_restart();
        }
        let (id, epoch) = (self.setup.id.clone(), self.state.generation);
        match Worker::spawn(id, epoch, self.setup.factory.clone(), self.events.clone()) {
            Ok(worker) => {
                self.worker = Some(worker);
                self.owing_since = Some(Instant::now());
                self.show();
            }
            Err(error) => {
                let fault = self.fault(format!("starting the device's thread: {error}"));
                self.lose_worker(&fault, ctx);
            }
        }
    }

    fn hung_threads(&mut self) -> usize {
        self.left.retain(|life| life.strong_count() > 0);
        self.left.len()
    }

    /// Requests a batch from the queue if the worker has room for one, or as soon as it will be nearly free.
    fn ask(&mut self, ctx: &mut Context<Self>) {
        if let Some(later) = self.ask_later.take() {
            ctx.cancel_future(later);
        }
        let health = self.health.now();
        let room = if health == DeviceHealth::Ready { IN_HAND } else { 1 };
        if self.asking.is_some() || !health.serves() || self.in_hand.len() >= room {
            return;
        }
        if let Some(load) = self.loads.pop_front() {
            self.hand_out(load);
            return self.ask(ctx);
        }
        let owing = self.in_hand.front().zip(self.owing_since);
        let wait = owing.and_then(|(running, since)| self.prefetch.until_nearly_done(running, since.elapsed()));
        if let Some(wait) = wait {
            self.ask_later = Some(ctx.run_later(wait, |this, ctx| {
                this.ask_later = None;
                this.ask(ctx);
            }));
            return;
        }
        let queue = Arc::clone(&self.queue);
        let wanted = Wanted { device: self.setup.id.clone(), class: self.setup.class, max: self.setup.batch };
        let next = async move { queue.next(&wanted).await };
        self.asking = Some(ctx.spawn(next.into_actor(self).map(|batch, this, ctx| {
            this.asking = None;
            this.hand_out(batch);
            this.ask(ctx);
        })));
    }

    /// Takes no further batch. A request that is dropped loses nothing.
    fn stop_asking(&mut self, ctx: &mut Context<Self>) {
        for handle in [self.asking.take(), self.ask_later.take()].into_iter().flatten() {
            ctx.cancel_future(handle);
        }
    }

    fn hand_out(&mut self, batch: Batch) {
        let Some(worker) = self.worker.as_ref().filter(|_| self.health.now().serves()) else {
            return self.queue.return_unstarted(batch);
        };
        match worker.hand(batch.clone()) {
            Ok(()) => {
                if self.in_hand.is_empty() {
                    self.owing_since = Some(Instant::now());
                }
                self.in_hand.push_back(batch);
            }
            Err(batch) => self.queue.return_unstarted(batch),
        }
    }

    fn fault(&mut self, mut reason: String) -> DeviceFault {
        reason.truncate(reason.floor_char_boundary(MOST_REASON_BYTES));
        tracing::warn!(device = %self.setup.id, %reason, "device fault");
        self.state.note_fault(&reason);
        DeviceFault { device: self.setup.id.clone(), reason }
    }

    fn served(&mut self, answers: Vec<Output>, began: Instant, ended: Instant) {
        let Some(batch) = self.in_hand.pop_front() else { return };
        self.owing_since = (!self.in_hand.is_empty()).then(Instant::now);
        let seconds = (ended - began).as_secs_f64();
        let device_seconds = seconds / batch.len() as f64;
        for (job, output) in batch.iter().zip(answers) {
            job.answer(Ok(Served { output, device: self.setup.id.clone(), device_seconds, began, ended }));
        }
        if let Some(profile) = batch.first().map(|job| &job.task.profile)
            && !self.state.models.contains(&profile.model)
        {
            self.state.models.insert(profile.model.clone());
        }
        self.prefetch.note(&batch, seconds);
        self.state.note_served(batch.len(), seconds);
        self.health.served();
    }

    fn failed(&mut self, reason: String, ctx: &mut Context<Self>) {
        let fault = self.fault(reason);
        if self.health.failed() == Verdict::ReplaceWorker {
            return self.lose_worker(&fault, ctx);
        }
        // Shown before the batch goes back, so that a device that is ready gets it.
        let failed = self.in_hand.pop_front();
        self.owing_since = (!self.in_hand.is_empty()).then(Instant::now);
        self.show();
        if let Some(batch) = failed {
            self.queue.return_failed(batch, &fault);
        }
    }

    /// Abandons the worker: from now on its events are ignored.
    fn leave_worker(&mut self, ctx: &mut Context<Self>) {
        self.state.generation += 1;
        self.left.extend(self.worker.take().map(Worker::leave));
        self.owing_since = None;
        self.state.models.clear();
        self.stop_asking(ctx);
    }

    /// The worker failed for good. What it had begun counts as a failed try, the rest does not; the next starts after
    /// a backoff.
    fn lose_worker(&mut self, fault: &DeviceFault, ctx: &mut Context<Self>) {
        self.leave_worker(ctx);
        let begun = self.in_hand.pop_front();
        let prepared = std::mem::take(&mut self.in_hand);
        if let Some(backoff) = self.health.worker_lost() {
            self.state.next_try = Some(Utc::now() + backoff);
            self.restart = Some(ctx.run_later(backoff, Self::start_worker));
        }
        self.show();
        if let Some(begun) = begun {
            self.queue.return_failed(begun, fault);
        }
        prepared.into_iter().for_each(|batch| self.queue.return_unstarted(batch));
    }

    /// Checks for stalls, starts a worker that hung threads had prevented, and measures.
    fn tick(&mut self, ctx: &mut Context<Self>) {
        let limit = self.setup.stall * if self.in_hand.is_empty() { LOAD_STALLS } else { 1 };
        let owing = self.owing_since.map(|since| since.elapsed()).unwrap_or_default();
        if owing > limit {
            self.state.note_stall();
            let what = if self.in_hand.is_empty() { "its models are not loaded" } else { "no answer" };
            let fault = self.fault(format!("{what} within {:.0} s", limit.as_secs_f64()));
            self.lose_worker(&fault, ctx);
        } else if owing > limit / 2 && !self.in_hand.is_empty() {
            self.health.overdue();
        }
        self.state.hung_threads = self.hung_threads();
        let stuck = self.health.now() == DeviceHealth::OutOfService && self.restart.is_none();
        if stuck && self.state.hung_threads < MOST_HUNG {
            self.start_worker(ctx);
        }
        let running = if self.in_hand.is_empty() { 0.0 } else { owing.as_secs_f64() };
        self.state.busy_ratio = self.busy.ratio(Instant::now(), self.state.busy_seconds + running);
        self.show();
    }

    fn drain(&mut self, ctx: &mut Context<Self>) {
        self.stop_asking(ctx);
        self.health.drain();
        if self.health.now() == DeviceHealth::Disabled {
            self.take_out(ctx);
        }
        self.finish_draining(ctx);
    }

    fn finish_draining(&mut self, ctx: &mut Context<Self>) {
        if self.health.now() == DeviceHealth::Draining && self.in_hand.is_empty() {
            self.health.drained();
            self.take_out(ctx);
        }
    }

    /// Takes the device out of use: abandons the worker with its models, and returns the batches in hand to the queue.
    fn take_out(&mut self, ctx: &mut Context<Self>) {
        if let Some(restart) = self.restart.take() {
            ctx.cancel_future(restart);
        }
        self.state.next_try = None;
        self.leave_worker(ctx);
        for batch in std::mem::take(&mut self.in_hand) {
            self.queue.return_unstarted(batch);
        }
    }

    fn enable(&mut self, ctx: &mut Context<Self>) {
        if self.health.enable() {
            self.take_out(ctx);
            self.start_worker(ctx);
        }
        self.ask(ctx);
    }
}

impl Actor for DeviceSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        state::show_counters(&self.setup.id);
        if let Some(mut inbox) = self.inbox.take() {
            ctx.add_stream(futures_util::stream::poll_fn(move |cx| inbox.poll_recv(cx)));
        }
        ctx.run_interval(TICK, Self::tick);
        self.start_worker(ctx);
    }
}

impl StreamHandler<WorkerEvent> for DeviceSupervisor {
    fn handle(&mut self, event: WorkerEvent, ctx: &mut Self::Context) {
        if event.epoch != self.state.generation {
            return;
        }
        match event.what {
            WorkerNews::Ready => {
                self.owing_since = None;
                self.state.models = self.setup.warm.iter().cloned().collect();
                self.health.loaded();
            }
            WorkerNews::Began { at } => self.owing_since = Some(at),
            WorkerNews::Served { answers, began, ended } => self.served(answers, began, ended),
            WorkerNews::Skipped => {
                self.in_hand.pop_front();
                self.owing_since = (!self.in_hand.is_empty()).then(Instant::now);
            }
            WorkerNews::Failed { reason } => self.failed(reason, ctx),
            WorkerNews::Ended { reason } => {
                let fault = self.fault(reason);
                self.lose_worker(&fault, ctx);
            }
            WorkerNews::Lost { reason } => {
                let fault = self.fault(reason);
                let untried = std::mem::take(&mut self.in_hand);
                self.lose_worker(&fault, ctx);
                untried.into_iter().for_each(|batch| self.queue.return_unstarted(batch));
            }
        }
        self.finish_draining(ctx);
        self.show();
        self.ask(ctx);
    }
}

/// Has this device serve a frame, and no other: its model is loaded by that. Where the device does not serve, the frame
/// waits until it does, or until its answer has no receiver.
pub struct Load(pub Arc<FrameJob>);

impl Message for Load {
    type Result = ();
}

impl Handler<Load> for DeviceSupervisor {
    type Result = ();

    fn handle(&mut self, Load(job): Load, ctx: &mut Self::Context) {
        self.loads.push_back(vec![job]);
        // Requested anew: a pending request to the queue may wait for a long time.
        if let Some(asking) = self.asking.take() {
            ctx.cancel_future(asking);
        }
        self.ask(ctx);
    }
}

/// What an operator can do to a device. It lasts until the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Takes no further batch; what it has in hand finishes.
    Drain,
    /// Out at once: what it has in hand goes to other devices.
    Disable,
    /// Back in, without waiting for a backoff.
    Enable,
}

/// Does something to a device. Answers with its state afterwards.
pub struct Operate(pub Operation);

impl Message for Operate {
    type Result = DeviceState;
}

impl Handler<Operate> for DeviceSupervisor {
    type Result = MessageResult<Operate>;

    fn handle(&mut self, Operate(operation): Operate, ctx: &mut Self::Context) -> Self::Result {
        tracing::info!(device = %self.setup.id, ?operation, "an operator acts on a device");
        match operation {
            Operation::Drain => self.drain(ctx),
            Operation::Disable => {
                self.health.disable();
                self.take_out(ctx);
            }
            Operation::Enable => self.enable(ctx),
        }
        self.show();
        MessageResult(self.state.clone())
    }
}
