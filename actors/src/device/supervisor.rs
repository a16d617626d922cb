//! The actor that owns one device: takes the next batch from the [`FrameQueue`] when its worker is nearly free,
//! hands it out, measures, and replaces a worker that fails or stalls.
//!
//! Steps: start a worker generation → it loads its models → ask the queue for a batch whenever fewer than two are in
//! hand → a served batch clears the fault count; a failed one goes back to the queue; too many faults in a row, a
//! panic or a stall end the generation, and the next starts after a backoff.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, MessageResult, StreamHandler, WrapFuture};
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use super::engine::EngineFactory;
use super::worker::{self, Batch, IN_HAND, WorkerEvent, WorkerNews};
use crate::frame_queue::{DeviceFault, FrameQueue, Wanted};
use crate::profile::DeviceClass;

/// What one device is.
#[derive(Clone)]
pub struct DeviceSetup {
    /// `cpu:0`, `cuda:1`, `sim:3`.
    pub id: Arc<str>,
    pub class: DeviceClass,
    /// Most frames in one batch.
    pub batch: usize,
    /// Whether the node has no other device of this class.
    pub alone: bool,
    /// A batch that is not answered within this time has stalled.
    pub stall: Duration,
    pub factory: EngineFactory,
}

/// A device's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceHealth {
    /// Models are being loaded, or a new worker waits for its backoff to pass.
    Loading,
    Ready,
    /// The last worker could not be replaced; tried again with backoff.
    OutOfService,
}

/// What a supervisor shows of itself.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceState {
    pub id: Arc<str>,
    pub class: DeviceClass,
    pub health: DeviceHealth,
    pub batch: usize,
    pub batches: u64,
    pub frames: u64,
    pub busy_seconds: f64,
    pub faults: u64,
    pub stalls: u64,
    /// Worker generations started so far.
    pub generation: u64,
    pub last_error: Option<String>,
}

/// See the [module](self).
pub struct DeviceSupervisor {
    setup: DeviceSetup,
    queue: Arc<FrameQueue>,
    state: DeviceState,
    /// Others watch the device through this.
    shown: watch::Sender<DeviceState>,
    events: mpsc::Sender<WorkerEvent>,
    inbox: Option<mpsc::Receiver<WorkerEvent>>,
    worker: Option<SyncSender<Batch>>,
    /// Batches handed to this generation, the running one first.
    in_hand: VecDeque<Batch>,
    running_since: Option<Instant>,
    asking: bool,
    faults_in_a_row: u32,
    /// Generations in a row that ended before they served a batch.
    failed_generations: u32,
}

/// Faults in a row after which a generation is replaced.
const FAULTS_TO_REPLACE: u32 = 3;
/// Generations in a row that never served a batch before the device counts as out of service.
const FAILED_GENERATIONS_TO_LEAVE: u32 = 3;
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
const STALL_CHECK: Duration = Duration::from_millis(500);

impl DeviceSupervisor {
    /// A supervisor to be started, and the channel on which it shows its state.
    pub fn new(setup: DeviceSetup, queue: Arc<FrameQueue>) -> (Self, watch::Receiver<DeviceState>) {
        let state = DeviceState {
            id: setup.id.clone(),
            class: setup.class,
            health: DeviceHealth::Loading,
            batch: setup.batch,
            batches: 0,
            frames: 0,
            busy_seconds: 0.0,
            faults: 0,
            stalls: 0,
            generation: 1,
            last_error: None,
        };
        let (shown, watched) = watch::channel(state.clone());
        // A worker speaks at most three times a batch and waits when nobody listens.
        let (events, inbox) = mpsc::channel(8);
        let supervisor = Self {
            setup,
            queue,
            state,
            shown,
            events,
            inbox: Some(inbox),
            worker: None,
            in_hand: VecDeque::new(),
            running_since: None,
            asking: false,
            faults_in_a_row: 0,
            failed_generations: 0,
        };
        (supervisor, watched)
    }

    fn show(&self) {
        self.shown.send_replace(self.state.clone());
    }

    fn start_generation(&mut self) {
        self.state.health = DeviceHealth::Loading;
        let (id, epoch) = (self.setup.id.clone(), self.state.generation);
        match worker::spawn(id, epoch, self.setup.factory.clone(), self.events.clone()) {
            Ok(worker) => self.worker = Some(worker),
            Err(error) => self.state.last_error = Some(format!("starting the device's thread: {error}")),
        }
        self.show();
    }

    /// Asks the queue for a batch if the worker has room for one.
    fn ask(&mut self, ctx: &mut Context<Self>) {
        let ready = self.state.health == DeviceHealth::Ready;
        if self.asking || !ready || self.in_hand.len() >= IN_HAND {
            return;
        }
        self.asking = true;
        let queue = Arc::clone(&self.queue);
        let wanted = Wanted {
            device: self.setup.id.clone(),
            class: self.setup.class,
            max: self.setup.batch,
            alone: self.setup.alone,
        };
        let next = async move { queue.next(&wanted).await };
        ctx.spawn(next.into_actor(self).map(|batch, this, ctx| {
            this.asking = false;
            this.hand_out(batch);
            this.ask(ctx);
        }));
    }

    fn hand_out(&mut self, batch: Batch) {
        let taken = self.worker.as_ref().filter(|_| self.state.health == DeviceHealth::Ready);
        let Some(worker) = taken else {
            return self.queue.put_back(batch);
        };
        // The channel has room for IN_HAND batches and no more are ever in hand; it can only be closed.
        match worker.try_send(batch.clone()) {
            Ok(()) => {
                if self.in_hand.is_empty() {
                    self.running_since = Some(Instant::now());
                }
                self.in_hand.push_back(batch);
            }
            Err(_) => self.queue.put_back(batch),
        }
    }

    fn fault(&mut self, reason: String) -> DeviceFault {
        tracing::warn!(device = %self.setup.id, %reason, "device fault");
        metrics::counter!("touchline_device_faults_total", "device" => self.setup.id.to_string()).increment(1);
        self.state.faults += 1;
        self.faults_in_a_row += 1;
        self.state.last_error = Some(reason.clone());
        DeviceFault { device: self.setup.id.clone(), reason }
    }

    /// Turns away from the present worker: what it had begun counts as a failed try, the rest does not.
    fn replace_worker(&mut self, fault: &DeviceFault, ctx: &mut Context<Self>) {
        // From now on nothing the old generation says is listened to.
        self.state.generation += 1;
        self.worker = None;
        self.running_since = None;
        if let Some(begun) = self.in_hand.pop_front() {
            self.queue.give_back(begun, fault);
        }
        for batch in self.in_hand.drain(..) {
            self.queue.put_back(batch);
        }
        self.failed_generations += 1;
        self.faults_in_a_row = 0;
        self.state.health = if self.failed_generations >= FAILED_GENERATIONS_TO_LEAVE {
            DeviceHealth::OutOfService
        } else {
            DeviceHealth::Loading
        };
        self.show();
        let doublings = self.failed_generations.saturating_sub(1).min(7);
        let backoff = (FIRST_BACKOFF * 2u32.pow(doublings)).min(LONGEST_BACKOFF);
        ctx.run_later(backoff, |this, _| this.start_generation());
    }

    fn check_stall(&mut self, ctx: &mut Context<Self>) {
        let stalled = self.running_since.is_some_and(|since| since.elapsed() > self.setup.stall);
        if stalled {
            self.state.stalls += 1;
            metrics::counter!("touchline_device_stalls_total", "device" => self.setup.id.to_string()).increment(1);
            let fault = self.fault(format!("no answer within {:.0} s", self.setup.stall.as_secs_f64()));
            self.replace_worker(&fault, ctx);
        }
    }

    fn served(&mut self, frames: usize, seconds: f64) {
        self.in_hand.pop_front();
        self.running_since = (!self.in_hand.is_empty()).then(Instant::now);
        self.faults_in_a_row = 0;
        self.failed_generations = 0;
        self.state.batches += 1;
        self.state.frames += frames as u64;
        self.state.busy_seconds += seconds;
        let device = self.setup.id.to_string();
        metrics::counter!("touchline_device_frames_total", "device" => device.clone()).increment(frames as u64);
        metrics::gauge!("touchline_device_busy_seconds", "device" => device).increment(seconds);
        self.show();
    }
}

impl Actor for DeviceSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(mut inbox) = self.inbox.take() {
            ctx.add_stream(futures_util::stream::poll_fn(move |cx| inbox.poll_recv(cx)));
        }
        ctx.run_interval(STALL_CHECK, Self::check_stall);
        self.start_generation();
    }
}

impl StreamHandler<WorkerEvent> for DeviceSupervisor {
    fn handle(&mut self, event: WorkerEvent, ctx: &mut Self::Context) {
        if event.epoch != self.state.generation {
            return;
        }
        match event.what {
            WorkerNews::Ready => {
                self.state.health = DeviceHealth::Ready;
                self.show();
            }
            WorkerNews::Began => self.running_since = Some(Instant::now()),
            WorkerNews::Served { frames, seconds } => self.served(frames, seconds),
            WorkerNews::Failed { reason } => {
                let fault = self.fault(reason);
                self.running_since = None;
                if self.faults_in_a_row >= FAULTS_TO_REPLACE {
                    self.replace_worker(&fault, ctx);
                } else if let Some(batch) = self.in_hand.pop_front() {
                    self.queue.give_back(batch, &fault);
                }
                self.show();
            }
            WorkerNews::Ended { reason } => {
                let fault = self.fault(reason);
                self.replace_worker(&fault, ctx);
            }
        }
        self.ask(ctx);
    }
}

/// Asks a supervisor what it shows of itself.
pub struct GetDevice;

impl Message for GetDevice {
    type Result = DeviceState;
}

impl Handler<GetDevice> for DeviceSupervisor {
    type Result = MessageResult<GetDevice>;

    fn handle(&mut self, _: GetDevice, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.state.clone())
    }
}
