//! WebSocket tickets: a browser cannot put a bearer token on a WebSocket, so it trades the token
//! for a ticket that opens one socket within half a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::secret::random_text;
use crate::http::extract::Principal;

/// How long a ticket waits to be used.
pub const TICKET_LIFE: Duration = Duration::from_secs(30);

/// The tickets given out and not yet used, by the hash of their text.
pub struct Tickets {
    life: Duration,
    waiting: Mutex<HashMap<[u8; 32], Waiting>>,
}

struct Waiting {
    principal: Principal,
    until: Instant,
}

impl Tickets {
    /// Tickets that hold for `life`.
    pub fn new(life: Duration) -> Self {
        Self { life, waiting: Mutex::default() }
    }

    /// A new ticket for a principal.
    pub fn issue(&self, principal: Principal) -> String {
        let ticket = random_text::<32>();
        let now = Instant::now();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, ticket| ticket.until > now);
        waiting.insert(Sha256::digest(&ticket).into(), Waiting { principal, until: now + self.life });
        ticket
    }

    /// Uses a ticket up; `None` when it is unknown, used or too old.
    pub fn redeem(&self, ticket: &str) -> Option<Principal> {
        let hash: [u8; 32] = Sha256::digest(ticket).into();
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&hash)?;
        (waiting.until > Instant::now()).then_some(waiting.principal)
    }
}

#[cfg(test)]
mod tests {
    use entities::users::Role;
    use entities::{TenantId, UserId};

    use super::*;
    use crate::http::extract::Identity;

    fn principal() -> Principal {
        Principal { tenant: TenantId::new(), identity: Identity::User(UserId::new()), role: Role::Viewer }
    }

    #[test]
    fn a_ticket_works_once() {
        let tickets = Tickets::new(TICKET_LIFE);
        let principal = principal();
        let ticket = tickets.issue(principal);
        assert_eq!(tickets.redeem(&ticket).map(|who| who.identity), Some(principal.identity));
        assert!(tickets.redeem(&ticket).is_none());
        assert!(tickets.redeem("made up").is_none());
    }

    #[test]
    fn an_old_ticket_is_worthless() {
        let tickets = Tickets::new(Duration::ZERO);
        let ticket = tickets.issue(principal());
        assert!(tickets.redeem(&ticket).is_none());
    }
}
