//! Progress through a Redis that the nodes share.

use actix::Addr;
use entities::TenantId;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Relay;
use crate::progress::hub::{LookAgain, Progress, ProgressHub, PublishRemote};
use crate::redis_connection::{Heard, Link};

/// Where nodes tell each other of progress.
const TOPIC: &str = "progress";
/// Messages that wait to be sent.
const WAITING: usize = 4096;

/// See the [module](self).
pub struct RedisRelay {
    link: Link,
    outgoing: Sender<(TenantId, Vec<u8>)>,
}

/// What one node tells the others: what listeners get, and what only nodes need to know.
#[derive(Serialize, Deserialize)]
struct Letter {
    attempt: i32,
    progress: Progress,
}

impl RedisRelay {
    /// A relay through `link`. Must be called inside an actix system.
    pub fn new(link: Link) -> Self {
        let (outgoing, mut letters) = channel::<(TenantId, Vec<u8>)>(WAITING);
        let way = link.clone();
        actix::spawn(async move {
            while let Some((tenant, letter)) = letters.recv().await {
                // What does not arrive is found in the rows.
                let _ = way.tell(tenant, TOPIC, &letter).await;
            }
        });
        Self { link, outgoing }
    }
}

impl Relay for RedisRelay {
    fn tell(&self, progress: &Progress) {
        if !self.link.is_up() {
            return;
        }
        let letter = Letter { attempt: progress.attempt, progress: progress.clone() };
        let letter = serde_json::to_vec(&letter).expect("numbers and strings serialise");
        if self.outgoing.try_send((progress.tenant, letter)).is_err() {
            tracing::warn!(export = %progress.export_id, "other nodes are not told of progress: too much waits");
        }
    }

    fn hears_all(&self) -> bool {
        self.link.is_up()
    }
}

/// Passes on to the hub what other nodes tell, until it is gone.
pub async fn follow(link: Link, hub: Addr<ProgressHub>) {
    let mut heard: Receiver<Heard> = link.hear(TOPIC);
    while let Some(heard) = heard.recv().await {
        let passed = match heard {
            Heard::Back => hub.send(LookAgain).await,
            Heard::Message { tenant: None, .. } => continue,
            Heard::Message { tenant: Some(tenant), body } => match serde_json::from_slice::<Letter>(&body) {
                Ok(Letter { attempt, progress }) => {
                    hub.send(PublishRemote(Progress { tenant, attempt, ..progress })).await
                }
                Err(error) => {
                    tracing::warn!(%error, "another node told of progress in a way that is not understood");
                    continue;
                }
            },
        };
        if passed.is_err() {
            return;
        }
    }
}
