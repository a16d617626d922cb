//! Progress through a Redis that the nodes share.

use entities::TenantId;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{Sender, channel};

use super::Relay;
use crate::progress::message::Progress;
use crate::redis_connection::RedisConnection;

/// The topic on which nodes publish progress.
pub(in crate::progress) const TOPIC: &str = "progress";
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

/// A message of another node about a tenant's export.
pub(in crate::progress) fn read(tenant: TenantId, body: &[u8]) -> serde_json::Result<Progress> {
    let Envelope { attempt, progress } = serde_json::from_slice(body)?;
    Ok(Progress { tenant, attempt, ..progress })
}
