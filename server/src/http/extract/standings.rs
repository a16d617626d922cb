//! How users stand, remembered for a moment: nothing else of a request needs the database twice.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use entities::users::Role;
use entities::{Database, TenantId, UserId};
use moka::sync::Cache;

use super::authenticate::standing;
use super::identity::Identity;
use super::principal::Principal;
use crate::http::problem::Problem;

/// How long a user's standing is used without looking again. What another node or the command line changes acts after it
/// at the latest, well within the second that is promised.
const REMEMBERED: Duration = Duration::from_millis(500);
/// Users whose standing is remembered.
const USERS: u64 = 100_000;

/// How users stand: their role, in a tenant that is active. Refusals are not remembered, nor are API keys, which are
/// looked up by their text anyway, and end at once wherever they are revoked.
pub struct Standings {
    known: Cache<(TenantId, UserId), Known>,
    /// Grows whenever something changes here: what was read before it does not count any more.
    generation: AtomicU64,
}

#[derive(Clone, Copy)]
struct Known {
    role: Role,
    /// Before the rows were read.
    looked_at: Instant,
    generation: u64,
}

impl Default for Standings {
    fn default() -> Self {
        let known = Cache::builder().max_capacity(USERS).time_to_live(REMEMBERED).build();
        Self { known, generation: AtomicU64::new(0) }
    }
}

impl Standings {
    /// As [`standing`], but at most half a second old.
    ///
    /// # Errors
    /// As [`standing`].
    pub async fn of(&self, db: &Database, principal: Principal) -> Result<Principal, Problem> {
        let Identity::User(user) = principal.identity else { return standing(db, principal).await };
        let key = (principal.tenant, user);
        let generation = self.generation.load(Ordering::SeqCst);
        let known = self.known.get(&key);
        let known = known.filter(|known| known.generation == generation && known.looked_at.elapsed() < REMEMBERED);
        let role = match known {
            Some(known) => known.role,
            None => {
                let looked_at = Instant::now();
                // The account's own role: other tokens of the same user may have been given another one.
                let role = standing(db, Principal { role: Role::Operator, ..principal }).await?.role;
                self.known.insert(key, Known { role, looked_at, generation });
                role
            }
        };
        Ok(Principal { role: role.min(principal.role), ..principal })
    }

    /// Looks again from now on: a tenant, a user or a right has changed.
    pub fn forget(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }
}
