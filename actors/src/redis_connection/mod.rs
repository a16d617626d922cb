//! The connection to a Redis that the nodes of a deployment share, and that may be unavailable.
//!
//! A [`RedisConnection`] is up or down. While it is down every call fails at once, so that no caller waits for a Redis
//! that does not answer; the first call that gets no answer in time takes it down. One task reconnects, as long as it
//! takes, and then sends [`PubSubEvent::Reconnected`] to every listener. Redis holds nothing that cannot be lost:
//! callers continue with the state of this node.
//!
//! Keys and topics begin with `touchline:` and, where a tenant owns them, its id.

mod keeper;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::Arbiter;
use entities::TenantId;
use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, FromRedisValue};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

/// How long an answer of Redis may take. It is on the same network: this is a hundred times of what it needs.
const ANSWER_WITHIN: Duration = Duration::from_millis(250);
/// Messages that wait for a listener of this node.
const WAITING: usize = 1024;
const PREFIX: &str = "touchline";

/// Redis is unavailable, or refused a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Redis is away")]
pub struct Unavailable;

/// What a listener of a topic receives.
#[derive(Debug, PartialEq, Eq)]
pub enum PubSubEvent {
    /// The connection is up, for the first time or again: what others published before was missed.
    Reconnected,
    /// A message of another node; of a tenant, where it was published for one.
    Message { tenant: Option<TenantId>, body: Vec<u8> },
}

/// A handle to the connection; cloning it is cheap.
#[derive(Clone)]
pub struct RedisConnection(Arc<Inner>);

struct Inner {
    /// Distinguishes this node's messages from the others'.
    node: Uuid,
    client: Client,
    state: watch::Sender<State>,
    listeners: Mutex<Vec<Listener>>,
}

#[derive(Default)]
struct State {
    /// Counts the connections there have been.
    epoch: u64,
    connection: Option<MultiplexedConnection>,
}

#[derive(Clone)]
struct Listener {
    topic: &'static str,
    sink: mpsc::Sender<PubSubEvent>,
}

/// A key of a tenant's.
pub fn key(tenant: TenantId, rest: &str) -> String {
    format!("{PREFIX}:{tenant}:{rest}")
}

/// A key that belongs to no tenant.
pub fn common_key(rest: &str) -> String {
    format!("{PREFIX}:{rest}")
}

impl RedisConnection {
    /// A connection to `url`, which is down until it first connects, on a thread of its own.
    ///
    /// # Errors
    /// When `url` is none of Redis.
    pub fn start(url: &str) -> Result<Self, redis::RedisError> {
        let client = Client::open(url)?;
        let (state, _) = watch::channel(State::default());
        let redis = Self(Arc::new(Inner { node: Uuid::now_v7(), client, state, listeners: Mutex::default() }));
        let arbiter = Arbiter::new();
        arbiter.spawn(keeper::keep(redis.clone()));
        Ok(redis)
    }

    /// Whether Redis answers, as far as is known.
    pub fn is_up(&self) -> bool {
        self.0.state.borrow().connection.is_some()
    }

    /// The number of the connection while it is up: as long as it stays the same, every message was received.
    pub fn epoch(&self) -> Option<u64> {
        let state = self.0.state.borrow();
        state.connection.as_ref().map(|_| state.epoch)
    }

    /// How many connections there have been. What was written before the last of them may be gone.
    pub fn connections(&self) -> u64 {
        self.0.state.borrow().epoch
    }

    /// Waits up to `patience` for the connection to be up; returns whether it is.
    pub async fn wait_up(&self, patience: Duration) -> bool {
        let mut state = self.0.state.subscribe();
        let up = state.wait_for(|state| state.connection.is_some());
        tokio::time::timeout(patience, up).await.is_ok_and(|up| up.is_ok())
    }

    /// Subscribes to other nodes' messages on a topic. A listener that does not receive blocks the others.
    pub fn subscribe(&self, topic: &'static str) -> mpsc::Receiver<PubSubEvent> {
        let (sink, events) = mpsc::channel(WAITING);
        let mut listeners = self.0.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_up() {
            sink.try_send(PubSubEvent::Reconnected).expect("a new channel has room");
        }
        listeners.push(Listener { topic, sink });
        events
    }

    /// Publishes a message of a tenant to the other nodes.
    ///
    /// # Errors
    /// When Redis is unavailable: no node has received it.
    pub async fn publish(&self, tenant: TenantId, topic: &str, body: &[u8]) -> Result<(), Unavailable> {
        self.publish_on(key(tenant, topic), body).await
    }

    /// Publishes a message of no tenant to the other nodes.
    ///
    /// # Errors
    /// When Redis is unavailable: no node has received it.
    pub async fn publish_to_all(&self, topic: &str, body: &[u8]) -> Result<(), Unavailable> {
        self.publish_on(common_key(topic), body).await
    }

    async fn publish_on(&self, channel: String, body: &[u8]) -> Result<(), Unavailable> {
        let signed = [self.0.node.as_bytes(), body].concat();
        self.query(redis::cmd("PUBLISH").arg(channel).arg(signed)).await
    }

    /// Sends a command to Redis.
    ///
    /// # Errors
    /// When it is unavailable, does not answer in time, or refuses.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Unavailable> {
        let (epoch, connection) = {
            let state = self.0.state.borrow();
            (state.epoch, state.connection.clone())
        };
        let Some(mut connection) = connection else { return Err(Unavailable) };
        command.query_async(&mut connection).await.map_err(|error| {
            metrics::counter!("touchline_redis_failures_total").increment(1);
            tracing::warn!(%error, "Redis failed a call");
            if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() {
                self.mark_down(epoch);
            }
            Unavailable
        })
    }

    /// Takes this connection down: no call uses it any more, and the keeper reconnects.
    fn mark_down(&self, epoch: u64) {
        self.0.state.send_if_modified(|state| state.epoch == epoch && state.connection.take().is_some());
        metrics::gauge!("touchline_redis_up").set(f64::from(self.is_up()));
    }
}

#[cfg(test)]
mod tests {
    use services::Redis;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn next(events: &mut mpsc::Receiver<PubSubEvent>) -> PubSubEvent {
        tokio::time::timeout(PATIENCE, events.recv()).await.expect("no event arrived").expect("the redis is there")
    }

    #[actix::test]
    async fn nodes_receive_messages_of_each_other_but_not_their_own() {
        let url = services::fresh_redis();
        let (one, two) = (RedisConnection::start(&url).unwrap(), RedisConnection::start(&url).unwrap());
        let (mut at_one, mut at_two) = (one.subscribe("topic"), two.subscribe("topic"));
        assert_eq!(
            (next(&mut at_one).await, next(&mut at_two).await),
            (PubSubEvent::Reconnected, PubSubEvent::Reconnected)
        );
        let tenant = TenantId::new();
        one.publish(tenant, "other", b"not for them").await.unwrap();
        one.publish(tenant, "topic", b"hello").await.unwrap();
        two.publish_to_all("topic", b"all").await.unwrap();
        let hello = PubSubEvent::Message { tenant: Some(tenant), body: b"hello".to_vec() };
        assert_eq!(next(&mut at_two).await, hello);
        assert_eq!(next(&mut at_one).await, PubSubEvent::Message { tenant: None, body: b"all".to_vec() });
        assert!(at_one.try_recv().is_err() && at_two.try_recv().is_err());
    }

    #[actix::test]
    async fn a_connection_whose_redis_goes_fails_at_once_and_comes_back() {
        let mut server = Redis::start();
        let redis = RedisConnection::start(&server.url()).unwrap();
        let mut events = redis.subscribe("topic");
        assert_eq!(next(&mut events).await, PubSubEvent::Reconnected);
        let first = redis.epoch().unwrap();
        server.kill();
        let mut failures = 0;
        while redis.is_up() {
            failures += usize::from(redis.query::<()>(&redis::cmd("PING")).await.is_err());
        }
        assert!(failures <= 1, "{failures} calls noticed that it was gone");
        assert_eq!(redis.query::<()>(&redis::cmd("PING")).await, Err(Unavailable));
        assert_eq!((redis.epoch(), redis.connections()), (None, first));
        server.revive();
        assert_eq!(next(&mut events).await, PubSubEvent::Reconnected);
        assert_eq!(redis.epoch(), Some(first + 1));
        redis.query::<()>(&redis::cmd("PING")).await.unwrap();
    }

    #[actix::test]
    async fn a_refused_call_does_not_take_the_connection_down() {
        let redis = RedisConnection::start(&services::fresh_redis()).unwrap();
        assert!(redis.wait_up(PATIENCE).await);
        assert_eq!(redis.query::<()>(&redis::cmd("NONSENSE")).await, Err(Unavailable));
        assert!(redis.is_up());
    }
}
