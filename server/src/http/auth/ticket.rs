//! WebSocket tickets: a browser cannot put a bearer token on a WebSocket, so it trades the token
//! for a ticket that opens one socket within half a minute.

use std::sync::Arc;
use std::time::Duration;

use actors::ephemeral::EphemeralStore;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::secret::random_text;
use crate::http::extract::Principal;

/// How long a ticket waits to be used.
pub const TICKET_LIFE: Duration = Duration::from_secs(30);

/// The tickets given out and not yet used, by the hash of their text. Nodes that share a Redis take each other's; one
/// given out while Redis is away opens a socket at its own node only.
pub struct Tickets {
    life: Duration,
    waiting: Arc<dyn EphemeralStore>,
}

impl Tickets {
    /// Tickets that hold for `life`.
    pub fn new(life: Duration, waiting: Arc<dyn EphemeralStore>) -> Self {
        Self { life, waiting }
    }

    /// A new ticket for a principal.
    pub async fn issue(&self, principal: Principal) -> String {
        let ticket = random_text::<32>();
        let who = serde_json::to_vec(&principal).expect("ids and names serialise");
        self.waiting.put(&key(&ticket), who, self.life).await;
        ticket
    }

    /// Uses a ticket up; `None` when it is unknown, used or too old.
    pub async fn redeem(&self, ticket: &str) -> Option<Principal> {
        let who = self.waiting.take(&key(ticket)).await?;
        serde_json::from_slice(&who).ok()
    }
}

fn key(ticket: &str) -> String {
    format!("ticket:{}", URL_SAFE_NO_PAD.encode(Sha256::digest(ticket)))
}

#[cfg(test)]
mod tests {
    use actors::ephemeral::MemoryStore;
    use entities::users::Role;
    use entities::{TenantId, UserId};

    use super::*;
    use crate::http::extract::Identity;

    fn principal() -> Principal {
        Principal { tenant: TenantId::new(), identity: Identity::User(UserId::new()), role: Role::Viewer }
    }

    #[actix_web::test]
    async fn a_ticket_works_once() {
        let tickets = Tickets::new(TICKET_LIFE, Arc::new(MemoryStore::default()));
        let principal = principal();
        let ticket = tickets.issue(principal).await;
        assert_eq!(tickets.redeem(&ticket).await.map(|who| who.identity), Some(principal.identity));
        assert!(tickets.redeem(&ticket).await.is_none());
        assert!(tickets.redeem("made up").await.is_none());
    }

    #[actix_web::test]
    async fn an_old_ticket_is_worthless() {
        let tickets = Tickets::new(Duration::ZERO, Arc::new(MemoryStore::default()));
        let ticket = tickets.issue(principal()).await;
        assert!(tickets.redeem(&ticket).await.is_none());
    }
}
