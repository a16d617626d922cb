//! Roles, sessions and tenants of users, cached for half a second, so that a request or an open socket does not read the
//! same rows again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::Utc;
use entities::users::Role;
use entities::{Database, TenantId};
use moka::future::Cache;

use super::identity::Identity;
use super::principal::Principal;
use super::standing::{active_user, check_session, standing};
use crate::http::problem::Problem;

/// TTL of an entry. What another node or the command line changes takes effect after it at the latest, well within the
/// second that is promised.
const REMEMBERED: Duration = Duration::from_millis(500);
/// Entries held at most.
const USERS: u64 = 100_000;

/// The principals of users: their role and session epoch, in a tenant that is active. Refusals are not cached. API keys are
/// cached for sockets only: a request finds its key by the text anyway, and one that is revoked ends at once for it.
pub struct PrincipalCache {
    entries: Cache<Key, Entry>,
    /// Grows whenever something changes here: entries of an earlier generation are not found any more.
    generation: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    identity: Identity,
    generation: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    role: Role,
    session_epoch: i64,
    /// Before the rows were read.
    read_at: Instant,
}

impl Default for PrincipalCache {
    fn default() -> Self {
        let entries = Cache::builder().max_capacity(USERS).time_to_live(REMEMBERED).build();
        Self { entries, generation: AtomicU64::new(0) }
    }
}

impl PrincipalCache {
    /// As [`standing`], but at most half a second old.
    ///
    /// # Errors
    /// As [`standing`].
    pub async fn of(&self, db: &Database, principal: Principal) -> Result<Principal, Problem> {
        match principal.identity {
            Identity::User(_) => self.cached(db, principal).await,
            Identity::Key(_) | Identity::Foreign { .. } => standing(db, principal).await,
        }
    }

    /// As [`standing`], for an open socket, which asks again and again: at most half a second old for keys and foreign
    /// users, too. Any number of sockets of one user read the rows twice a second.
    ///
    /// # Errors
    /// As [`standing`].
    pub async fn while_listening(&self, db: &Database, principal: Principal) -> Result<Principal, Problem> {
        match principal.identity {
            // Each token ends at its own time, so it is not cached.
            Identity::Foreign { until, .. } if until < Utc::now().timestamp() => standing(db, principal).await,
            _ => self.cached(db, principal).await,
        }
    }

    async fn cached(&self, db: &Database, principal: Principal) -> Result<Principal, Problem> {
        let generation = self.generation.load(Ordering::SeqCst);
        let key = Key { tenant: principal.tenant, identity: principal.identity.without_end(), generation };
        let read = async {
            let read_at = Instant::now();
            let (role, session_epoch) = match principal.identity {
                Identity::User(user) => {
                    let account = active_user(db, principal.tenant, user).await?;
                    (account.role, account.session_epoch)
                }
                // Their sockets' own roles are compared below; sessions are those of users.
                _ => {
                    (standing(db, Principal { role: Role::Operator, ..principal }).await?.role, principal.session_epoch)
                }
            };
            Ok::<_, Problem>(Entry { role, session_epoch, read_at })
        };
        // Of concurrent requests without an entry, one reads the rows.
        let entry = self.entries.try_get_with(key, read).await.map_err(|problem| (*problem).clone())?;
        // A session of a later epoch began at another node since the rows were read.
        if entry.read_at.elapsed() > REMEMBERED || entry.session_epoch < principal.session_epoch {
            return standing(db, principal).await;
        }
        check_session(principal.session_epoch, entry.session_epoch)?;
        Ok(Principal { role: entry.role.min(principal.role), ..principal })
    }

    /// Invalidates every entry: a tenant, a user or a right has changed.
    pub fn forget(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use entities::tenants::{self, TenantState};
    use entities::users::{self, NewUser, UserChange};

    use super::*;

    #[actix_web::test]
    async fn what_changes_here_acts_at_once_and_what_changes_elsewhere_soon() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let db = entities::connect(&format!("sqlite://{}", folder.path().join("rows.db").display())).await?;
        let tenant = tenants::create(&db, "club").await?.id;
        let email = "coach@club.example".to_owned();
        let new = NewUser { tenant_id: tenant, email, password_hash: "-".to_owned(), role: Role::Editor };
        let user = users::create(&db, new).await?.id;
        let admin = Principal { tenant, identity: Identity::User(user), role: Role::Admin, session_epoch: 0 };
        let principals = PrincipalCache::default();
        let role = async || anyhow::Ok(principals.of(&db, admin).await.ok().map(|principal| principal.role));
        assert_eq!(role().await?, Some(Role::Editor), "the account's role is less than the token's");
        let viewer = Principal { role: Role::Viewer, ..admin };
        let asked = principals.of(&db, viewer).await.map_err(|problem| anyhow::anyhow!("{problem}"))?;
        assert_eq!(asked.role, Role::Viewer, "the token's role is less than the account's");

        // The same holds for a socket, also one that an API key or a foreign token opened.
        let listening = async |identity| {
            let principal = Principal { identity, ..admin };
            principals.while_listening(&db, principal).await.ok().map(|principal| principal.role)
        };
        let foreign = |until| Identity::Foreign { subject: uuid::Uuid::from_u128(1), until };
        let now = Utc::now().timestamp();
        assert_eq!(listening(admin.identity).await, Some(Role::Editor));
        assert_eq!(listening(foreign(now + 60)).await, Some(Role::Admin));
        assert_eq!(listening(foreign(now - 60)).await, None, "its token has ended, whatever another one's entry says");

        tenants::set_state(&db, tenant, TenantState::Suspended).await?;
        principals.forget();
        assert_eq!(role().await?, None);
        assert_eq!(listening(foreign(now + 60)).await, None);
        // Refusals are not remembered, so this needs no invalidation.
        tenants::set_state(&db, tenant, TenantState::Active).await?;
        assert_eq!(role().await?, Some(Role::Editor));

        // Another node sets a new password.
        let change = UserChange { password_hash: Some("-".to_owned()), ..UserChange::default() };
        users::change(&db, tenant, user, change).await?;
        let later = Principal { session_epoch: 1, ..admin };
        assert!(principals.of(&db, later).await.is_ok(), "a new session waits for no entry to expire");
        ends_soon(&role).await?;
        assert!(principals.of(&db, later).await.is_ok());
        let role = async || anyhow::Ok(principals.of(&db, later).await.ok().map(|principal| principal.role));
        users::delete(&db, tenant, user).await?;
        ends_soon(&role).await
    }

    /// Waits until the principal is refused.
    async fn ends_soon(role: &impl AsyncFn() -> anyhow::Result<Option<Role>>) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while role().await?.is_some() {
            anyhow::ensure!(Instant::now() < deadline, "the user still stands");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}
