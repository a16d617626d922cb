//! Checking a password within the limits of guessing.

use std::net::IpAddr;
use std::time::Duration;

use entities::tenants::Tenant;
use entities::users::{self, User};
use entities::{UserId, tokens};

use super::throttle::Claim;
use crate::http::problem::Problem;
use crate::http::state::State;

/// The user of an e-mail address, with the tenant, if the password is theirs. `None` for a wrong password and for an
/// address without a user, after the same work. `network` is where the password came from, if that is known.
///
/// # Errors
/// 429 after too many wrong passwords, 503 when too many are being checked.
pub async fn check_password(
    state: &State,
    network: Option<IpAddr>,
    email: &str,
    password: String,
) -> Result<Option<(User, Tenant)>, Problem> {
    let (attempt, guarded) = match state.throttle.claim(email, network).await {
        Claim::Granted(attempt) => (attempt, None),
        Claim::IfKnown(attempt, wait) => (attempt, Some(wait)),
        Claim::Refused(wait) => return Err(refused(wait)),
    };
    // From here on the try counts as a failure, also if the client hangs up.
    let checked = check(state, network, guarded, email, password).await;
    match &checked {
        Ok(Some(_)) => {
            count("right");
            attempt.succeeded().await;
        }
        Ok(None) => count("wrong"),
        Err(_) => attempt.withdraw().await,
    }
    checked
}

async fn check(
    state: &State,
    network: Option<IpAddr>,
    guarded: Option<Duration>,
    email: &str,
    password: String,
) -> Result<Option<(User, Tenant)>, Problem> {
    let found = users::find_for_login(&state.db, email).await?;
    if let Some(wait) = guarded {
        // An address without a user is looked up, too: the time it takes is not to tell.
        let user = found.as_ref().map_or_else(UserId::new, |(user, _)| user.id);
        let known = match network {
            Some(network) => tokens::is_known_network(&state.db, user, &state.networks.of(user, network)).await?,
            None => false,
        };
        if !known {
            return Err(refused(wait));
        }
    }
    let hash = found.as_ref().map(|(user, _)| user.password_hash.clone());
    let right = state.hashing.check(password, hash).await.inspect_err(|_| count("busy"))?;
    Ok(found.filter(|_| right))
}

fn refused(wait: Duration) -> Problem {
    count("throttled");
    let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
    Problem::too_many("too_many_logins", "too many failed logins; wait a little", seconds)
}

fn count(outcome: &'static str) {
    metrics::counter!("touchline_logins_total", "outcome" => outcome).increment(1);
}
