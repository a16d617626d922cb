//! The actor that publishes the progress of exports to listeners.
//!
//! It keeps each live export's latest state, numbers and coalesces updates to at most ten a second an export, and
//! sends them to the tenant's own listeners. A terminal state is sent at once and waits for slow listeners; any other
//! is skipped for a listener whose channel is full, because a newer one follows.
//!
//! What it publishes also goes to a [`Relay`], and messages of other nodes come in as [`PublishRemote`]. A relay may
//! lose messages. So, where other nodes work on the same database, the rows of exports that listeners wait for are read
//! at intervals: short ones while the relay is not lossless, long ones while it is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, MessageResult, ResponseActFuture, WrapFuture,
};
use chrono::{TimeDelta, Utc};
use entities::exports::{self, Export};
use entities::{Database, ExportId, TenantId};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use super::message::Progress;
use super::relay::Relay;

/// Least time between two messages of one export: ten a second.
const SPACING: Duration = Duration::from_millis(100);
/// How long a listener may keep a terminal message waiting before it counts as gone.
const TERMINAL_PATIENCE: Duration = Duration::from_secs(30);
/// How long a terminal message is kept for a client that subscribes at that moment.
const TERMINAL_KEPT: Duration = Duration::from_secs(60);

/// Interval between reads of rows while the relay is not lossless, and of the check whether a read is due.
const READ_INTERVAL: Duration = Duration::from_secs(2);
/// Interval between reads of rows while the relay is lossless.
const LOSSLESS_READ_INTERVAL: Duration = Duration::from_secs(10);
/// Age up to which rows of ended exports are read: more than the longest interval and the skew of two clocks, so that
/// no end is missed, and less than [`TERMINAL_KEPT`], so that none is published twice.
const READ_BACK: Duration = Duration::from_secs(30);

struct Listener {
    /// None listens to every export of the tenant.
    export: Option<ExportId>,
    sink: Sender<Arc<Progress>>,
}

struct Latest {
    progress: Arc<Progress>,
    sent: Instant,
    unsent: bool,
    /// Its last update came from another node.
    remote: bool,
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
    relay: Arc<dyn Relay>,
    read_at: Instant,
    reading: bool,
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
    /// A hub that reads the state of exports that are not live from `db`, and publishes to other nodes through `relay`.
    pub fn new(db: Database, relay: Arc<dyn Relay>) -> Self {
        let read_at = Instant::now();
        let (listeners, latest) = (HashMap::new(), HashMap::new());
        Self { db, next_listener: 0, listeners, latest, seq: 0, relay, read_at, reading: false }
    }

    fn publish(&mut self, mut progress: Progress, remote: bool) {
        if self.is_old(&progress) {
            return;
        }
        self.seq += 1;
        progress.seq = self.seq;
        let same = |latest: &&Latest| latest.progress.attempt == progress.attempt && !latest.is_over();
        if let Some(latest) = self.latest.get(&progress.export_id).filter(same) {
            // A row is stored less often than progress is published: published progress never decreases.
            progress.progress = progress.progress.max(latest.progress.progress);
            progress.frames_done = progress.frames_done.max(latest.progress.frames_done);
        }
        let terminal = progress.state.is_terminal();
        let (id, progress) = (progress.export_id, Arc::new(progress));
        let due = self.latest.get(&id).is_none_or(|latest| latest.sent.elapsed() >= SPACING);
        if terminal || due {
            self.send(&progress, remote);
            self.latest.insert(id, Latest { progress, sent: Instant::now(), unsent: false, remote });
        } else if let Some(latest) = self.latest.get_mut(&id) {
            latest.progress = progress;
            latest.unsent = true;
            latest.remote = remote;
        }
    }

    /// Whether a later state was published: of a later attempt, or the end of this one. Other nodes and rows may lag.
    fn is_old(&self, progress: &Progress) -> bool {
        self.latest.get(&progress.export_id).is_some_and(|latest| {
            let published = &latest.progress;
            published.attempt > progress.attempt || (published.attempt == progress.attempt && latest.is_over())
        })
    }

    /// Sends what was held back for its spacing.
    fn flush(&mut self, _: &mut Context<Self>) {
        let mut due = Vec::new();
        for latest in self.latest.values_mut() {
            if latest.unsent && latest.sent.elapsed() >= SPACING {
                latest.unsent = false;
                latest.sent = Instant::now();
                due.push((Arc::clone(&latest.progress), latest.remote));
            }
        }
        for (progress, remote) in due {
            self.send(&progress, remote);
        }
        // An export without an update from its node for that long is read from its row instead.
        let kept = |latest: &Latest| !latest.is_over() && !latest.remote;
        self.latest.retain(|_, latest| kept(latest) || latest.sent.elapsed() < TERMINAL_KEPT);
        for listeners in self.listeners.values_mut() {
            listeners.retain(|_, listener| !listener.sink.is_closed());
        }
        self.listeners.retain(|_, listeners| !listeners.is_empty());
        let count: usize = self.listeners.values().map(HashMap::len).sum();
        metrics::gauge!("touchline_progress_listeners").set(count as f64);
    }

    /// Reads the states of exports that listeners may wait for, on a database that other nodes use too.
    fn read_rows_if_due(&mut self, ctx: &mut Context<Self>) {
        let due = if self.relay.is_lossless() { LOSSLESS_READ_INTERVAL } else { READ_INTERVAL };
        if self.db.is_shared() && self.read_at.elapsed() >= due {
            self.read_rows(ctx);
        }
    }

    fn read_rows(&mut self, ctx: &mut Context<Self>) {
        if self.reading || self.listeners.is_empty() {
            return;
        }
        (self.reading, self.read_at) = (true, Instant::now());
        let (db, tenants) = (self.db.clone(), self.listeners.keys().copied().collect::<Vec<_>>());
        let since = Utc::now() - TimeDelta::from_std(READ_BACK).expect("half a minute is no long time");
        let read = async move { exports::moving(&db, &tenants, since).await };
        ctx.spawn(read.into_actor(self).map(|rows, this, _| {
            this.reading = false;
            match rows {
                Ok(rows) => rows.iter().for_each(|row| this.publish_row(row)),
                Err(error) => tracing::warn!(%error, "reading the rows of other nodes' exports failed"),
            }
        }));
    }

    /// Publishes a row, in case another node's messages about the export were lost.
    fn publish_row(&mut self, row: &Export) {
        // Of an export that runs on this node, memory is newer than the row.
        let own = |latest: &Latest| !latest.remote && !latest.is_over() && latest.progress.attempt == row.attempt;
        if row.state.is_terminal() || !self.latest.get(&row.id).is_some_and(own) {
            self.publish(Progress::of(row), true);
        }
    }

    fn send(&self, progress: &Arc<Progress>, remote: bool) {
        if !remote {
            self.relay.publish(progress);
        }
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
        ctx.run_interval(READ_INTERVAL, Self::read_rows_if_due);
    }
}

/// Publishes an export's progress to the tenant's listeners, on every node.
pub struct Publish(pub Progress);

impl Message for Publish {
    type Result = ();
}

impl Handler<Publish> for ProgressHub {
    type Result = ();

    fn handle(&mut self, Publish(progress): Publish, _: &mut Self::Context) {
        self.publish(progress, false);
    }
}

/// Publishes progress that another node sent to the tenant's listeners on this node.
pub struct PublishRemote(pub Progress);

impl Message for PublishRemote {
    type Result = ();
}

impl Handler<PublishRemote> for ProgressHub {
    type Result = ();

    fn handle(&mut self, PublishRemote(progress): PublishRemote, _: &mut Self::Context) {
        self.publish(progress, true);
    }
}

/// Reads the rows: messages of other nodes may have been lost.
pub struct ReadRows;

impl Message for ReadRows {
    type Result = ();
}

impl Handler<ReadRows> for ProgressHub {
    type Result = ();

    fn handle(&mut self, _: ReadRows, ctx: &mut Self::Context) {
        if self.db.is_shared() {
            self.read_rows(ctx);
        }
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
        let read = async move {
            match export {
                None => Ok(None),
                Some(id) => exports::get(&db, tenant, id).await?.map(Some).ok_or(SubscribeError::NotFound),
            }
        };
        let register = move |row: Result<Option<Export>, SubscribeError>, this: &mut Self, _: &mut Context<Self>| {
            // Registered, and sent the snapshot, in one step of the actor: no update can come between the two.
            for progress in this.snapshot(tenant, row?) {
                deliver(&sink, progress);
            }
            this.next_listener += 1;
            let number = this.next_listener;
            this.listeners.entry(tenant).or_default().insert(number, Listener { export, sink });
            Ok(SubscriptionId { tenant, number })
        };
        Box::pin(read.into_actor(self).map(register))
    }
}

impl ProgressHub {
    /// The latest state of one export (`row` is its row), or of the tenant's live ones.
    fn snapshot(&self, tenant: TenantId, row: Option<Export>) -> Vec<Arc<Progress>> {
        let Some(row) = row else {
            let own = self.latest.values().filter(|latest| latest.progress.tenant == tenant);
            return own.map(|latest| Arc::clone(&latest.progress)).collect();
        };
        let live = self.latest.get(&row.id).map(|latest| Arc::clone(&latest.progress));
        vec![live.unwrap_or_else(|| Arc::new(Progress { seq: self.seq, ..Progress::of(&row) }))]
    }
}

/// Returns the progress last published of those exports that are live; of the others the row is the latest.
pub struct GetLatest(pub Vec<(TenantId, ExportId)>);

impl Message for GetLatest {
    type Result = HashMap<ExportId, Arc<Progress>>;
}

impl Handler<GetLatest> for ProgressHub {
    type Result = MessageResult<GetLatest>;

    fn handle(&mut self, GetLatest(exports): GetLatest, _: &mut Self::Context) -> Self::Result {
        let live = exports.into_iter().filter_map(|(tenant, export)| {
            let latest = self.latest.get(&export)?;
            let own = !latest.is_over() && latest.progress.tenant == tenant;
            own.then(|| (export, Arc::clone(&latest.progress)))
        });
        MessageResult(live.collect())
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
mod tests;
