//! WebSocket tickets: a browser cannot put a bearer token on a WebSocket, so it trades the token
//! for a ticket that opens one socket within half a minute.

use std::sync::Arc;
use std::time::Duration;

use actors::ephemeral::{EphemeralStore, Rate, RateDecision};
use actors::settings::tenant_limits::LimitReached;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use config::Limits;
use sha2::{Digest, Sha256};

use super::secret::random_text;
use crate::http::extract::Principal;

/// How long a ticket waits to be used.
pub const TICKET_LIFE: Duration = Duration::from_secs(30);

/// Tickets that may wait even where fewer sockets may be open: a client that failed to connect asks for another.
const LEAST_WAITING: u32 = 16;

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

    /// A new ticket for a principal. Of one user and of one tenant as many may wait as sockets may be open by `limits`,
    /// so that none pushes those of others out of memory.
    ///
    /// # Errors
    /// With the limit that is reached.
    pub async fn issue(&self, principal: Principal, limits: &Limits) -> Result<String, LimitReached> {
        let [of_user, of_tenant] = self.bounds(&principal, limits);
        self.spend(&of_user).await?;
        if let Err(reached) = self.spend(&of_tenant).await {
            self.waiting.give_back(&of_user.key, of_user.rate).await;
            return Err(reached);
        }
        let ticket = random_text::<32>();
        let who = serde_json::to_vec(&principal).expect("ids and names serialise");
        self.waiting.put(&key(&ticket), who, self.life).await;
        Ok(ticket)
    }

    /// Counts a ticket that was redeemed as waiting no more.
    pub async fn redeemed(&self, principal: &Principal, limits: &Limits) {
        for bound in self.bounds(principal, limits) {
            self.waiting.give_back(&bound.key, bound.rate).await;
        }
    }

    async fn spend(&self, bound: &Bound) -> Result<(), LimitReached> {
        let Bound { key, limit, rate, most } = bound;
        match self.waiting.spend(key, *rate).await {
            RateDecision::Allowed { .. } => Ok(()),
            RateDecision::Denied { retry_after } => {
                let what = "tickets may wait to be used";
                Err(LimitReached { limit, most: u64::from(*most), what, retry_after })
            }
        }
    }

    /// Of a user and of a tenant.
    fn bounds(&self, principal: &Principal, limits: &Limits) -> [Bound; 2] {
        let (tenant, user) = (principal.tenant, principal.identity.without_end());
        let bound = |limit, key, sockets: u32| {
            let most = sockets.max(LEAST_WAITING);
            // A ticket that is never used leaves the bucket when it expires.
            let life = self.life.as_secs_f64().max(1e-3);
            let rate = Rate { per_second: f64::from(most) / life, burst: f64::from(most) };
            Bound { key, limit, rate, most }
        };
        [
            bound("tickets_per_user", format!("tickets:{tenant}:{user}"), limits.sockets_per_user),
            bound("tickets_per_tenant", format!("tickets:{tenant}"), limits.sockets_per_tenant),
        ]
    }

    /// Uses a ticket up; `None` when it is unknown, used or too old.
    pub async fn redeem(&self, ticket: &str) -> Option<Principal> {
        let who = self.waiting.take(&key(ticket)).await?;
        serde_json::from_slice(&who).ok()
    }
}

/// How many tickets may wait: a token bucket that is refilled within a ticket's life.
struct Bound {
    key: String,
    limit: &'static str,
    rate: Rate,
    most: u32,
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

    fn limits() -> Limits {
        config::Live::default().limits
    }

    fn principal() -> Principal {
        let identity = Identity::User(UserId::new());
        Principal { tenant: TenantId::new(), identity, role: Role::Viewer, session_epoch: 0 }
    }

    #[actix_web::test]
    async fn a_ticket_works_once() {
        let tickets = Tickets::new(TICKET_LIFE, Arc::new(MemoryStore::default()));
        let principal = principal();
        let ticket = tickets.issue(principal, &limits()).await.unwrap();
        assert_eq!(tickets.redeem(&ticket).await.map(|who| who.identity), Some(principal.identity));
        assert!(tickets.redeem(&ticket).await.is_none());
        assert!(tickets.redeem("made up").await.is_none());
    }

    #[actix_web::test]
    async fn an_old_ticket_is_worthless() {
        let tickets = Tickets::new(Duration::ZERO, Arc::new(MemoryStore::default()));
        let ticket = tickets.issue(principal(), &limits()).await.unwrap();
        assert!(tickets.redeem(&ticket).await.is_none());
    }

    #[actix_web::test]
    async fn a_users_and_a_tenants_tickets_that_wait_are_bounded() {
        let tickets = Tickets::new(Duration::from_secs(3600), Arc::new(MemoryStore::default()));
        let limits = Limits { sockets_per_user: 20, sockets_per_tenant: 30, ..limits() };
        let coach = principal();
        let player = Principal { tenant: coach.tenant, ..principal() };
        let mut given = Vec::new();
        for _ in 0..20 {
            given.push(tickets.issue(coach, &limits).await.unwrap());
        }
        assert_eq!(tickets.issue(coach, &limits).await.unwrap_err().limit, "tickets_per_user");
        for _ in 0..10 {
            tickets.issue(player, &limits).await.unwrap();
        }
        assert_eq!(tickets.issue(player, &limits).await.unwrap_err().limit, "tickets_per_tenant");
        let stranger = principal();
        assert!(tickets.issue(stranger, &limits).await.is_ok(), "another tenant has its own");
        // A ticket that is used makes room.
        let used = tickets.redeem(&given[0]).await.unwrap();
        tickets.redeemed(&used, &limits).await;
        assert!(tickets.issue(coach, &limits).await.is_ok());
        assert!(tickets.issue(coach, &limits).await.is_err());
    }
}
