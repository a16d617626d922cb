//! Brings the progress of exports at other nodes to the hub.

use actix::Addr;
use tokio::sync::mpsc::Receiver;

use super::hub::{ProgressHub, PublishRemote, ReadRows};
use super::relay::redis;
use crate::redis_connection::{PubSubEvent, RedisConnection};

/// Forwards other nodes' messages to the hub, until the hub has stopped.
pub async fn follow(connection: RedisConnection, hub: Addr<ProgressHub>) {
    let mut events: Receiver<PubSubEvent> = connection.subscribe(redis::TOPIC);
    while let Some(event) = events.recv().await {
        let passed = match event {
            PubSubEvent::Reconnected => hub.send(ReadRows).await,
            PubSubEvent::Message { tenant: None, .. } => continue,
            PubSubEvent::Message { tenant: Some(tenant), body } => match redis::read(tenant, &body) {
                Ok(progress) => hub.send(PublishRemote(progress)).await,
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
