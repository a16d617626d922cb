//! Whether an account, a key and a tenant still hold, and with which role: read from their rows.

use chrono::Utc;
use entities::tenants::{self, Tenant, TenantState};
use entities::users::{self, User};
use entities::{Database, TenantId, UserId, api_keys};

use super::identity::Identity;
use super::principal::Principal;
use crate::http::auth::issuer::Refused;
use crate::http::problem::Problem;

/// The principal as it is right now: with the lesser of the role it had and the one it has.
///
/// # Errors
/// 401 when the account or key is gone, or the session has ended by a new password; 403 when the tenant is suspended.
pub async fn standing(db: &Database, principal: Principal) -> Result<Principal, Problem> {
    let tenant = principal.tenant;
    let role = match principal.identity {
        Identity::User(id) => {
            let user = active_user(db, tenant, id).await?;
            check_session(principal.session_epoch, user.session_epoch)?;
            user.role
        }
        Identity::Key(id) => {
            active(db, tenant, account_gone).await?;
            let key = api_keys::get(db, tenant, id).await?;
            key.filter(|key| key.is_valid(Utc::now())).ok_or_else(key_ended)?.scope.role()
        }
        Identity::Foreign { until, .. } if until < Utc::now().timestamp() => {
            return Err(Problem::unauthorized("invalid_token", Refused::Expired.to_string()));
        }
        Identity::Foreign { .. } => {
            active(db, tenant, account_gone).await?;
            principal.role
        }
    };
    Ok(Principal { role: role.min(principal.role), ..principal })
}

/// The row of a user of an active tenant.
pub(super) async fn active_user(db: &Database, tenant: TenantId, user: UserId) -> Result<User, Problem> {
    active(db, tenant, account_gone).await?;
    users::get(db, tenant, user).await?.ok_or_else(account_gone)
}

/// Refuses a session that began before the password was changed.
pub(super) fn check_session(began: i64, now: i64) -> Result<(), Problem> {
    if began >= now {
        return Ok(());
    }
    Err(Problem::unauthorized("invalid_token", "the password was changed, which ended this session; log in again"))
}

/// Refuses what belongs to a tenant that is suspended, or gone: then with `gone`.
pub(super) async fn active(db: &Database, tenant: TenantId, gone: fn() -> Problem) -> Result<(), Problem> {
    check_active(&tenants::get(db, tenant).await?.ok_or_else(gone)?)
}

/// Refuses what belongs to a suspended tenant.
///
/// # Errors
/// 403 when the tenant is suspended.
pub fn check_active(tenant: &Tenant) -> Result<(), Problem> {
    match tenant.state {
        TenantState::Active => Ok(()),
        TenantState::Suspended => {
            Err(Problem::forbidden("tenant_suspended", "the tenant is suspended; ask the operator"))
        }
    }
}

fn account_gone() -> Problem {
    Problem::unauthorized("invalid_token", "the account does not exist any more")
}

pub(super) fn key_ended() -> Problem {
    Problem::unauthorized("invalid_key", "the API key is unknown, has expired or was revoked")
}
