//! The actor that tells listeners how exports are doing.
//!
//! It keeps each live export's latest state, numbers and coalesces updates to at most ten a second an export, and
//! hands them to the tenant's own listeners. A terminal state is sent at once and waits for slow listeners; any other
//! is skipped for a listener whose channel is full, because a newer one follows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, MessageResult, ResponseActFuture, WrapFuture,
};
use chrono::{DateTime, Utc};
use entities::exports::{self, Export, ExportState};
use entities::{Database, ExportId, TenantId};
use serde::Serialize;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

/// What a listener gets: the export's progress, as in its resource.
#[derive(Debug, Clone, Serialize)]
pub struct Progress {
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Grows from message to message of one node.
    pub seq: u64,
    pub export_id: ExportId,
    #[serde(skip)]
    pub tenant: TenantId,
    pub state: ExportState,
    /// 0..1, never goes back.
    pub progress: f64,
    pub frames_done: i64,
    pub frames_total: i64,
    pub frames_inferred: i64,
    /// Output frames a second, lately.
    pub fps: f64,
    pub eta_seconds: Option<f64>,
    pub message: String,
    pub warnings: serde_json::Value,
    pub problem: Option<serde_json::Value>,
    pub device_seconds: f64,
    pub cost: f64,
    pub updated_at: DateTime<Utc>,
}

impl Progress {
    /// The progress that an export's row tells; `fps` and the time left are known only while it runs.
    pub fn of(export: &Export) -> Self {
        Self {
            kind: "progress",
            seq: 0,
            export_id: export.id,
            tenant: export.tenant_id,
            state: export.state,
            progress: export.progress,
            frames_done: export.frames_done,
            frames_total: export.frames_total,
            frames_inferred: export.frames_inferred,
            fps: 0.0,
            eta_seconds: None,
            message: export.message.clone(),
            warnings: export.warnings.clone(),
            problem: export.problem.clone(),
            device_seconds: export.device_seconds,
            cost: export.cost,
            updated_at: Utc::now(),
        }
    }
}

/// Least time between two messages of one export: ten a second.
const SPACING: Duration = Duration::from_millis(100);
/// How long a listener may keep a terminal message waiting before it counts as gone.
const TERMINAL_PATIENCE: Duration = Duration::from_secs(30);
/// How long a terminal message is kept for somebody who subscribes at that very moment.
const TERMINAL_KEPT: Duration = Duration::from_secs(60);

struct Listener {
    /// None listens to every export of the tenant.
    export: Option<ExportId>,
    sink: Sender<Arc<Progress>>,
}

struct Latest {
    progress: Arc<Progress>,
    sent: Instant,
    unsent: bool,
}

impl Latest {
    /// Whether the export had ended: what follows is another attempt, which begins anew.
    fn is_over(&self) -> bool {
        self.progress.state.is_terminal()
    }
}

/// See the [module](self).
pub struct ProgressHub {
    db: Database,
    next_listener: u64,
    /// By tenant, so that one tenant's progress costs the others' listeners nothing.
    listeners: HashMap<TenantId, HashMap<u64, Listener>>,
    latest: HashMap<ExportId, Latest>,
    /// The last number given to a message.
    seq: u64,
}

/// Counts what became of a message for one listener.
fn count(outcome: &'static str) {
    metrics::counter!("touchline_progress_messages_total", "outcome" => outcome).increment(1);
}

/// Hands a message to a listener without waiting for it. A terminal one that finds no room waits beside the actor.
fn deliver(sink: &Sender<Arc<Progress>>, progress: Arc<Progress>) {
    match sink.try_send(progress) {
        Ok(()) => count("sent"),
        Err(TrySendError::Full(progress)) if progress.state.is_terminal() => {
            let sink = sink.clone();
            actix::spawn(async move {
                // A listener that left, or sleeps this long, has its socket closed by its handler.
                let sent = sink.send_timeout(progress, TERMINAL_PATIENCE).await;
                count(if sent.is_ok() { "waited" } else { "lost" });
            });
        }
        Err(TrySendError::Full(_)) => count("skipped"),
        // Its subscription is about to go.
        Err(TrySendError::Closed(_)) => {}
    }
}

impl ProgressHub {
    /// A hub that reads the state of exports that are not live from `db`.
    pub fn new(db: Database) -> Self {
        Self { db, next_listener: 0, listeners: HashMap::new(), latest: HashMap::new(), seq: 0 }
    }

    fn publish(&mut self, mut progress: Progress) {
        self.seq += 1;
        progress.seq = self.seq;
        if let Some(latest) = self.latest.get(&progress.export_id).filter(|latest| !latest.is_over()) {
            // A row is stored less often than progress is told: what was told does not go back.
            progress.progress = progress.progress.max(latest.progress.progress);
            progress.frames_done = progress.frames_done.max(latest.progress.frames_done);
        }
        let terminal = progress.state.is_terminal();
        let (id, progress) = (progress.export_id, Arc::new(progress));
        let due = self.latest.get(&id).is_none_or(|latest| latest.sent.elapsed() >= SPACING);
        if terminal || due {
            self.send(&progress);
            self.latest.insert(id, Latest { progress, sent: Instant::now(), unsent: false });
        } else if let Some(latest) = self.latest.get_mut(&id) {
            latest.progress = progress;
            latest.unsent = true;
        }
    }

    /// Sends what was held back for its spacing.
    fn flush(&mut self, _: &mut Context<Self>) {
        let mut due = Vec::new();
        for latest in self.latest.values_mut() {
            if latest.unsent && latest.sent.elapsed() >= SPACING {
                latest.unsent = false;
                latest.sent = Instant::now();
                due.push(Arc::clone(&latest.progress));
            }
        }
        for progress in due {
            self.send(&progress);
        }
        self.latest.retain(|_, latest| !latest.is_over() || latest.sent.elapsed() < TERMINAL_KEPT);
        for listeners in self.listeners.values_mut() {
            listeners.retain(|_, listener| !listener.sink.is_closed());
        }
        self.listeners.retain(|_, listeners| !listeners.is_empty());
        let count: usize = self.listeners.values().map(HashMap::len).sum();
        metrics::gauge!("touchline_progress_listeners").set(count as f64);
    }

    fn send(&self, progress: &Arc<Progress>) {
        let listeners = self.listeners.get(&progress.tenant).into_iter().flat_map(HashMap::values);
        for listener in listeners.filter(|listener| listener.export.is_none_or(|export| export == progress.export_id)) {
            deliver(&listener.sink, Arc::clone(progress));
        }
    }
}

impl Actor for ProgressHub {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1024);
        ctx.run_interval(SPACING / 2, Self::flush);
    }
}

/// Tells the tenant's listeners of an export's progress.
pub struct Publish(pub Progress);

impl Message for Publish {
    type Result = ();
}

impl Handler<Publish> for ProgressHub {
    type Result = ();

    fn handle(&mut self, Publish(progress): Publish, _: &mut Self::Context) {
        self.publish(progress);
    }
}

/// Names a listener, to end its subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SubscriptionId {
    tenant: TenantId,
    number: u64,
}

/// Why a subscription was refused.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The tenant has no such export.
    #[error("no such export")]
    NotFound,
    #[error("reading the export's state: {0}")]
    Database(#[from] entities::Error),
}

/// Starts to listen; the latest state comes at once. `export` None: every export of the tenant, of which those that
/// are live come at once.
pub struct Subscribe {
    pub tenant: TenantId,
    pub export: Option<ExportId>,
    pub sink: Sender<Arc<Progress>>,
}

impl Message for Subscribe {
    type Result = Result<SubscriptionId, SubscribeError>;
}

impl Handler<Subscribe> for ProgressHub {
    type Result = ResponseActFuture<Self, Result<SubscriptionId, SubscribeError>>;

    fn handle(&mut self, subscribe: Subscribe, _: &mut Self::Context) -> Self::Result {
        let Subscribe { tenant, export, sink } = subscribe;
        let db = self.db.clone();
        let look = async move {
            match export {
                None => Ok(None),
                Some(id) => exports::get(&db, tenant, id).await?.map(Some).ok_or(SubscribeError::NotFound),
            }
        };
        let register = move |row: Result<Option<Export>, SubscribeError>, this: &mut Self, _: &mut Context<Self>| {
            // Registered and told in one step of the actor: no update can slip between the two.
            for progress in this.snapshot(tenant, row?) {
                deliver(&sink, progress);
            }
            this.next_listener += 1;
            let number = this.next_listener;
            this.listeners.entry(tenant).or_default().insert(number, Listener { export, sink });
            Ok(SubscriptionId { tenant, number })
        };
        Box::pin(look.into_actor(self).map(register))
    }
}

impl ProgressHub {
    /// The latest state of one export (`row` is what the database says of it), or of the tenant's live ones.
    fn snapshot(&self, tenant: TenantId, row: Option<Export>) -> Vec<Arc<Progress>> {
        let Some(row) = row else {
            let own = self.latest.values().filter(|latest| latest.progress.tenant == tenant);
            return own.map(|latest| Arc::clone(&latest.progress)).collect();
        };
        let live = self.latest.get(&row.id).map(|latest| Arc::clone(&latest.progress));
        vec![live.unwrap_or_else(|| Arc::new(Progress { seq: self.seq, ..Progress::of(&row) }))]
    }
}

/// Asks what was last told of a tenant's export; None when it is not live here, and the row says all there is.
pub struct GetLatest {
    pub tenant: TenantId,
    pub export: ExportId,
}

impl Message for GetLatest {
    type Result = Option<Arc<Progress>>;
}

impl Handler<GetLatest> for ProgressHub {
    type Result = MessageResult<GetLatest>;

    fn handle(&mut self, GetLatest { tenant, export }: GetLatest, _: &mut Self::Context) -> Self::Result {
        let latest = self.latest.get(&export).filter(|latest| !latest.is_over() && latest.progress.tenant == tenant);
        MessageResult(latest.map(|latest| Arc::clone(&latest.progress)))
    }
}

/// Ends a subscription.
pub struct Unsubscribe(pub SubscriptionId);

impl Message for Unsubscribe {
    type Result = ();
}

impl Handler<Unsubscribe> for ProgressHub {
    type Result = ();

    fn handle(&mut self, Unsubscribe(SubscriptionId { tenant, number }): Unsubscribe, _: &mut Self::Context) {
        if let Some(listeners) = self.listeners.get_mut(&tenant) {
            listeners.remove(&number);
        }
    }
}

#[cfg(test)]
mod tests {
    use actix::Addr;
    use tokio::sync::mpsc::{Receiver, channel};

    use super::*;

    fn progress(tenant: TenantId, export_id: ExportId, state: ExportState) -> Progress {
        Progress {
            kind: "progress",
            seq: 0,
            export_id,
            tenant,
            state,
            progress: 0.5,
            frames_done: 1,
            frames_total: 2,
            frames_inferred: 0,
            fps: 0.0,
            eta_seconds: None,
            message: String::new(),
            warnings: serde_json::json!([]),
            problem: None,
            device_seconds: 0.0,
            cost: 0.0,
            updated_at: Utc::now(),
        }
    }

    async fn hub(folder: &std::path::Path) -> Addr<ProgressHub> {
        let url = format!("sqlite://{}/touchline.db", folder.display());
        ProgressHub::new(entities::connect(&url).await.unwrap()).start()
    }

    /// Listens to all of a tenant's exports, with room for so many messages.
    async fn listen(hub: &Addr<ProgressHub>, tenant: TenantId, room: usize) -> Receiver<Arc<Progress>> {
        let (sink, messages) = channel(room);
        hub.send(Subscribe { tenant, export: None, sink }).await.unwrap().unwrap();
        messages
    }

    /// The exports of whose end it hears, until it has heard of `count`.
    async fn ends(messages: &mut Receiver<Arc<Progress>>, count: usize) -> Vec<ExportId> {
        let mut ended = Vec::new();
        while ended.len() < count {
            let told = tokio::time::timeout(Duration::from_secs(60), messages.recv()).await;
            let told = told.expect("a last message did not come").expect("the hub is gone");
            if told.state.is_terminal() {
                ended.push(told.export_id);
            }
        }
        ended.sort();
        ended
    }

    #[actix::test]
    async fn who_does_not_read_keeps_nobody_waiting_and_hears_every_end_later() {
        let folder = tempfile::tempdir().unwrap();
        let hub = hub(folder.path()).await;
        let tenant = TenantId::new();
        let mut keen = listen(&hub, tenant, 1000).await;
        let mut deaf = listen(&hub, tenant, 1).await;
        let mut stranger = listen(&hub, TenantId::new(), 1000).await;
        let mut exports: Vec<ExportId> = (0..100).map(|_| ExportId::new()).collect();
        exports.sort();
        for state in [ExportState::Rendering, ExportState::Complete] {
            for &export in &exports {
                hub.send(Publish(progress(tenant, export, state))).await.unwrap();
            }
        }
        assert_eq!(ends(&mut keen, 100).await, exports);
        assert_eq!(ends(&mut deaf, 100).await, exports);
        assert!(stranger.try_recv().is_err(), "somebody else heard of them");
    }

    #[actix::test]
    async fn a_first_look_at_more_exports_than_there_is_room_for_misses_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let hub = hub(folder.path()).await;
        let tenant = TenantId::new();
        let mut exports: Vec<ExportId> = (0..50).map(|_| ExportId::new()).collect();
        exports.sort();
        for &export in &exports {
            hub.send(Publish(progress(tenant, export, ExportState::Complete))).await.unwrap();
        }
        let mut late = listen(&hub, tenant, 4).await;
        assert_eq!(ends(&mut late, 50).await, exports);
    }
}
