//! How many WebSockets are open, by tenant and by user, and how fast their clients may send.
//!
//! Counts are of this node. A socket costs its node memory and a share of every message of its tenant, so one tenant's
//! sockets are bounded whatever its users do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actors::ephemeral::{MemoryStore, Rate, RateDecision};
use actors::settings::tenant_limits::LimitReached;
use config::Limits;
use entities::TenantId;

use super::extract::{Identity, Principal};

/// Subscriptions that all sockets of a tenant may ask for: each reads a row.
const SUBSCRIPTIONS_OF_TENANT: Rate = Rate { per_second: 100.0, burst: 1000.0 };
/// Messages that a client may send at once on one socket, more than there may be subscriptions.
const BURST: f64 = 256.0;
/// Messages a second that it may send after that.
const PER_SECOND: f64 = 20.0;
/// When it may be worth while to try to open a socket again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The sockets that are open. Cheap to clone.
#[derive(Clone, Default)]
pub struct Sockets {
    open: Arc<Mutex<HashMap<TenantId, OfTenant>>>,
    subscriptions: Arc<MemoryStore>,
}

#[derive(Default)]
struct OfTenant {
    open: u32,
    by_user: HashMap<Identity, u32>,
}

/// One open socket, counted until it is dropped.
pub struct SocketPermit {
    open: Arc<Mutex<HashMap<TenantId, OfTenant>>>,
    tenant: TenantId,
    user: Identity,
}

impl Sockets {
    /// Counts one more socket of a user.
    ///
    /// # Errors
    /// With the limit that is reached; the tenant's comes first.
    pub fn open(&self, principal: &Principal, limits: &Limits) -> Result<SocketPermit, LimitReached> {
        let (tenant, user) = (principal.tenant, principal.identity.without_end());
        let mut open = lock(&self.open);
        let counts = open.entry(tenant).or_default();
        let of_user = counts.by_user.get(&user).copied().unwrap_or(0);
        let reached =
            |limit, most: u32, what| Err(LimitReached { limit, most: most.into(), what, retry_after: RETRY_AFTER });
        if counts.open >= limits.sockets_per_tenant {
            return reached("sockets_per_tenant", limits.sockets_per_tenant, "WebSockets of a tenant may be open");
        }
        if of_user >= limits.sockets_per_user {
            return reached("sockets_per_user", limits.sockets_per_user, "WebSockets of a user may be open");
        }
        counts.open += 1;
        counts.by_user.insert(user, of_user + 1);
        Ok(SocketPermit { open: Arc::clone(&self.open), tenant, user })
    }

    /// Whether one of the tenant's sockets may subscribe once more now.
    pub fn may_subscribe(&self, tenant: TenantId) -> bool {
        let decision = self.subscriptions.spend_now(&tenant.to_string(), SUBSCRIPTIONS_OF_TENANT);
        matches!(decision, RateDecision::Allowed { .. })
    }
}

impl Drop for SocketPermit {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        let Some(counts) = open.get_mut(&self.tenant) else { return };
        counts.open -= 1;
        if let Some(of_user) = counts.by_user.get_mut(&self.user) {
            *of_user -= 1;
            if *of_user == 0 {
                counts.by_user.remove(&self.user);
            }
        }
        if counts.open == 0 {
            open.remove(&self.tenant);
        }
    }
}

/// The token bucket of what one client sends.
pub struct MessageBucket {
    tokens: f64,
    at: Instant,
}

impl MessageBucket {
    /// A full one.
    pub fn new(now: Instant) -> Self {
        Self { tokens: BURST, at: now }
    }

    /// Takes one token; false when there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        let filled = now.saturating_duration_since(self.at).as_secs_f64() * PER_SECOND;
        self.tokens = (self.tokens + filled).min(BURST);
        self.at = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use entities::UserId;
    use entities::users::Role;

    use super::*;

    fn user(tenant: TenantId) -> Principal {
        Principal { tenant, identity: Identity::User(UserId::new()), role: Role::Viewer, session_epoch: 0 }
    }

    fn limits(sockets_per_user: u32, sockets_per_tenant: u32) -> Limits {
        Limits { sockets_per_user, sockets_per_tenant, ..config::Live::default().limits }
    }

    #[test]
    fn users_and_tenants_have_their_own_limits() {
        let (sockets, limits) = (Sockets::default(), limits(2, 3));
        let club = TenantId::new();
        let (coach, player) = (user(club), user(club));
        let held: Vec<_> = (0..2).map(|_| sockets.open(&coach, &limits).unwrap()).collect();
        assert_eq!(sockets.open(&coach, &limits).err().unwrap().limit, "sockets_per_user");
        let third = sockets.open(&player, &limits).unwrap();
        assert_eq!(sockets.open(&player, &limits).err().unwrap().limit, "sockets_per_tenant");
        assert!(sockets.open(&user(TenantId::new()), &limits).is_ok(), "another tenant has its own");
        drop(third);
        assert_eq!(sockets.open(&coach, &limits).err().unwrap().limit, "sockets_per_user");
        drop(held);
        assert!(sockets.open(&coach, &limits).is_ok());
        assert!(lock(&sockets.open).is_empty(), "nothing is kept of those who left");
    }

    #[test]
    fn a_foreign_user_is_one_whatever_token_opened_the_socket() {
        let (sockets, limits) = (Sockets::default(), limits(1, 9));
        let (tenant, subject) = (TenantId::new(), uuid::Uuid::from_u128(7));
        let with = |until| Principal {
            tenant,
            identity: Identity::Foreign { subject, until },
            role: Role::Viewer,
            session_epoch: 0,
        };
        let _first = sockets.open(&with(1), &limits).unwrap();
        assert_eq!(sockets.open(&with(2), &limits).err().unwrap().limit, "sockets_per_user");
    }

    #[test]
    fn a_client_may_send_a_burst_and_then_at_a_rate() {
        let start = Instant::now();
        let mut bucket = MessageBucket::new(start);
        assert!((0..256).all(|_| bucket.take(start)));
        assert!(!bucket.take(start));
        let later = start + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| bucket.take(later)).count(), 20);
        let rested = later + Duration::from_secs(3600);
        assert_eq!((0..1000).filter(|_| bucket.take(rested)).count(), 256, "no more than a burst is saved up");
    }

    #[test]
    fn a_tenants_sockets_share_a_rate_of_subscriptions() {
        let (sockets, club) = (Sockets::default(), TenantId::new());
        let allowed = (0..5000).filter(|_| sockets.may_subscribe(club)).count();
        assert!((1000..5000).contains(&allowed), "{allowed}");
        assert!(sockets.may_subscribe(TenantId::new()));
    }
}
