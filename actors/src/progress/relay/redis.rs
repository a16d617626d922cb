//! Progress through a Redis that the nodes share.

use actix::Addr;
use entities::TenantId;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Relay;
use crate::progress::hub::{ProgressHub, PublishRemote, ReadRows};
use crate::progress::message::Progress;
use crate::redis_connection::{PubSubEvent, RedisConnection};

/// The topic on which nodes publish progress.
const TOPIC: &str = "progress";
/// Messages that wait to be sent.
const WAITING: usize = 4096;

/// See the [module](self).
pub struct RedisRelay {
    redis: RedisConnection,
    outgoing: Sender<(TenantId, Vec<u8>)>,
}

/// A message between nodes: what listeners get, and what only nodes need.
#[derive(Serialize, Deserialize)]
struct Envelope {
    attempt: i32,
    progress: Progress,
}

impl RedisRelay {
    /// A relay through `connection`. Must be called inside an actix system.
    pub fn new(redis: RedisConnection) -> Self {
        let (outgoing, mut envelopes) = channel::<(TenantId, Vec<u8>)>(WAITING);
        let connection = redis.clone();
        actix::spawn(async move {
            while let Some((tenant, envelope)) = envelopes.recv().await {
                // What does not arrive is read from the rows.
                let _ = connection.publish(tenant, TOPIC, &envelope).await;
            }
        });
        Self { redis, outgoing }
    }
}

impl Relay for RedisRelay {
    fn publish(&self, progress: &Progress) {
        if !self.redis.is_up() {
            return;
        }
        let envelope = Envelope { attempt: progress.attempt, progress: progress.clone() };
        let envelope = serde_json::to_vec(&envelope).expect("numbers and strings serialise");
        if self.outgoing.try_send((progress.tenant, envelope)).is_err() {
            tracing::warn!(export = %progress.export_id, "progress is not published to other nodes: too many messages wait");
        }
    }

    fn is_lossless(&self) -> bool {
        self.redis.is_up()
    }
}

/// Forwards other nodes' messages to the hub, until the hub has stopped.
pub async fn follow(redis: RedisConnection, hub: Addr<ProgressHub>) {
    let mut events: Receiver<PubSubEvent> = redis.subscribe(TOPIC);
    while let Some(event) = events.recv().await {
        let passed = match event {
            PubSubEvent::Reconnected => hub.send(ReadRows).await,
            PubSubEvent::Message { tenant: None, .. } => continue,
            PubSubEvent::Message { tenant: Some(tenant), body } => match serde_json::from_slice::<Envelope>(&body) {
                Ok(Envelope { attempt, progress }) => {
                    hub.send(PublishRemote(Progress { tenant, attempt, ..progress })).await
                }
                Err(error) => {
                    tracing::warn!(%error, "a progress message of another node cannot be read");
                    continue;
                }
            },
        };
        if passed.is_err() {
            return;
        }
    }
}
