//! Roles and tenants of users, cached for half a second, so that a request does not read the same rows again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use entities::users::Role;
use entities::{Database, TenantId, UserId};
use moka::future::Cache;

use super::identity::Identity;
use super::principal::Principal;
use super::standing::standing;
use crate::http::problem::Problem;

/// TTL of an entry. What another node or the command line changes takes effect after it at the latest, well within the
/// second that is promised.
const REMEMBERED: Duration = Duration::from_millis(500);
/// Entries held at most.
const USERS: u64 = 100_000;

/// The principals of users: their role, in a tenant that is active. Refusals are not cached, nor are API keys, which
/// are found by their text anyway, and end at once wherever they are revoked.
pub struct PrincipalCache {
    entries: Cache<Key, Entry>,
    /// Grows whenever something changes here: entries of an earlier generation are not found any more.
    generation: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    user: UserId,
    generation: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    role: Role,
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
        let Identity::User(user) = principal.identity else { return standing(db, principal).await };
        let key = Key { tenant: principal.tenant, user, generation: self.generation.load(Ordering::SeqCst) };
        let read = async {
            let read_at = Instant::now();
            // The account's own role: other tokens of the same user may have been given another one.
            let role = standing(db, Principal { role: Role::Operator, ..principal }).await?.role;
            Ok::<_, Problem>(Entry { role, read_at })
        };
        // Of concurrent requests without an entry, one reads the rows.
        let entry = self.entries.try_get_with(key, read).await.map_err(|problem| (*problem).clone())?;
        if entry.read_at.elapsed() > REMEMBERED {
            return standing(db, principal).await;
        }
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
    use entities::users::{self, NewUser};

    use super::*;

    #[actix_web::test]
    async fn what_changes_here_acts_at_once_and_what_changes_elsewhere_soon() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let db = entities::connect(&format!("sqlite://{}", folder.path().join("rows.db").display())).await?;
        let tenant = tenants::create(&db, "club").await?.id;
        let email = "coach@club.example".to_owned();
        let new = NewUser { tenant_id: tenant, email, password_hash: "-".to_owned(), role: Role::Editor };
        let user = users::create(&db, new).await?.id;
        let admin = Principal { tenant, identity: Identity::User(user), role: Role::Admin };
        let principals = PrincipalCache::default();
        let role = async || anyhow::Ok(principals.of(&db, admin).await.ok().map(|principal| principal.role));
        assert_eq!(role().await?, Some(Role::Editor), "the account's role is less than the token's");
        let viewer = Principal { role: Role::Viewer, ..admin };
        let asked = principals.of(&db, viewer).await.map_err(|problem| anyhow::anyhow!("{problem}"))?;
        assert_eq!(asked.role, Role::Viewer, "the token's role is less than the account's");

        tenants::set_state(&db, tenant, TenantState::Suspended).await?;
        principals.forget();
        assert_eq!(role().await?, None);
        // Refusals are not remembered, so this needs no invalidation.
        tenants::set_state(&db, tenant, TenantState::Active).await?;
        assert_eq!(role().await?, Some(Role::Editor));
        users::delete(&db, tenant, user).await?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while role().await?.is_some() {
            assert!(Instant::now() < deadline, "a deleted user still stands");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}
