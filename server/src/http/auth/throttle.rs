//! Login throttling: how many wrong passwords may come, by account and network together, by network, and by account.
//!
//! Each is a token bucket, at all nodes together where they share a Redis. A try takes its tokens before the password is
//! checked, so that of a burst of parallel tries no more are checked than there are tokens; a right password gives them
//! back. So only failures count, and a busy club is never locked out by its own logins. Tries of one account from one
//! network come one after the other at each node: parallel logins with the right password do not take each other's tokens.
//!
//! The first bucket alone bounds what one network may try on one account; strangers elsewhere cannot empty it. The other
//! two bound one network that tries many accounts, and many networks that try one account. They do not hold for a network
//! from which the user has logged in before: else strangers could keep a user out.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actors::ephemeral::{EphemeralStore, Rate, RateDecision};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::turns::{Turn, Turns};

/// Failures of one account from one network: ten, then one a minute.
const PAIR: Rate = Rate { per_second: 1.0 / 60.0, burst: 10.0 };
/// Failures from one network, whatever the account: 200, then 200 an hour. A clubhouse is one network.
const NETWORK: Rate = Rate { per_second: 200.0 / 3600.0, burst: 200.0 };
/// Failures of one account, whatever the network: 300, then 100 an hour.
const ACCOUNT: Rate = Rate { per_second: 100.0 / 3600.0, burst: 300.0 };

/// How long to wait when too many tries of one account from one network wait for each other.
const QUEUE_WAIT: Duration = Duration::from_secs(1);

/// Limits wrong passwords.
pub struct LoginThrottle {
    store: Arc<dyn EphemeralStore>,
    turns: Arc<Turns>,
}

/// Whether a password may be checked.
pub enum Claim {
    /// It may.
    Granted(Attempt),
    /// It may if the user has logged in from this network before; else not before this time.
    IfKnown(Attempt, Duration),
    /// Not before this time.
    Refused(Duration),
}

/// One try, which counts as a failure until it is settled. One that is dropped, because its client hung up, stays counted.
#[must_use]
pub struct Attempt {
    store: Arc<dyn EphemeralStore>,
    pair: String,
    /// The other buckets from which it has a token.
    guards: Vec<(String, Rate)>,
    /// Given on when the try is settled.
    _turn: Turn,
}

impl LoginThrottle {
    /// A throttle that counts in `failures`.
    pub fn new(failures: Arc<dyn EphemeralStore>) -> Self {
        Self { store: failures, turns: Arc::default() }
    }

    /// Counts a try at the account `email` from `network`, if one is left. Waits until others of both are settled.
    pub async fn claim(&self, email: &str, network: Option<IpAddr>) -> Claim {
        let (account, network) = (hashed(email), network.map_or("unknown".to_owned(), |network| network.to_string()));
        let pair = format!("failed-logins:{account}:{network}");
        let Some(turn) = self.turns.take(&pair).await else { return Claim::Refused(QUEUE_WAIT) };
        if let RateDecision::Denied { retry_after } = self.store.spend(&pair, PAIR).await {
            return Claim::Refused(retry_after);
        }
        let mut attempt = Attempt { store: Arc::clone(&self.store), pair, guards: Vec::new(), _turn: turn };
        let mut wait = None;
        for (key, rate) in
            [(format!("failed-logins-from:{network}"), NETWORK), (format!("failed-logins-of:{account}"), ACCOUNT)]
        {
            match self.store.spend(&key, rate).await {
                RateDecision::Allowed { .. } => attempt.guards.push((key, rate)),
                RateDecision::Denied { retry_after } => wait = wait.max(Some(retry_after)),
            }
        }
        match wait {
            None => Claim::Granted(attempt),
            Some(wait) => Claim::IfKnown(attempt, wait),
        }
    }
}

impl Attempt {
    /// The password was right: the user has a clean slate at this network. The other buckets get back only what this try
    /// took, because an attacker may own an account, too.
    pub async fn succeeded(self) {
        self.store.fill(&self.pair).await;
        self.give_guards_back().await;
    }

    /// No password was checked.
    pub async fn withdraw(self) {
        self.store.give_back(&self.pair, PAIR).await;
        self.give_guards_back().await;
    }

    async fn give_guards_back(&self) {
        for (key, rate) in &self.guards {
            self.store.give_back(key, *rate).await;
        }
    }
}

/// The account's key, without the address: none lies in Redis.
fn hashed(email: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(email.trim().to_lowercase()))
}

#[cfg(test)]
mod tests {
    use actors::ephemeral::MemoryStore;

    use super::*;

    const ANN: &str = "ann@club.example";

    fn throttle() -> LoginThrottle {
        LoginThrottle::new(Arc::new(MemoryStore::default()))
    }

    fn network(number: u32) -> Option<IpAddr> {
        Some(IpAddr::V4((0xc000_0200 + number).into()))
    }

    /// A wrong password: whether it was checked.
    async fn fails(throttle: &LoginThrottle, email: &str, from: Option<IpAddr>) -> bool {
        match throttle.claim(email, from).await {
            Claim::Granted(_) => true,
            Claim::IfKnown(attempt, _) => {
                attempt.withdraw().await;
                false
            }
            Claim::Refused(_) => false,
        }
    }

    #[actix_web::test]
    async fn repeated_failures_from_one_network_lock_only_that_network_out() {
        let throttle = throttle();
        for _ in 0..10 {
            assert!(fails(&throttle, " Ann@Club.example", network(1)).await);
        }
        let Claim::Refused(wait) = throttle.claim(ANN, network(1)).await else { panic!("an eleventh is checked") };
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(60), "{wait:?}");
        assert!(matches!(throttle.claim(ANN, network(2)).await, Claim::Granted(_)), "the user, somewhere else");
        assert!(matches!(throttle.claim("bob@club.example", network(1)).await, Claim::Granted(_)));
    }

    #[actix_web::test]
    async fn of_a_burst_no_more_are_checked_than_may_fail() {
        let throttle = throttle();
        let burst = futures_util::future::join_all((0..50).map(|_| fails(&throttle, ANN, network(1)))).await;
        assert_eq!(burst.into_iter().filter(|checked| *checked).count(), 10);
    }

    #[actix_web::test]
    async fn right_passwords_that_come_at_once_do_not_refuse_each_other() {
        let throttle = throttle();
        for _ in 0..9 {
            assert!(fails(&throttle, ANN, network(1)).await);
        }
        let succeeds = async || {
            let Claim::Granted(attempt) = throttle.claim(ANN, network(1)).await else { panic!("one is refused") };
            tokio::task::yield_now().await;
            attempt.succeeded().await;
        };
        futures_util::future::join_all((0..50).map(|_| succeeds())).await;
    }

    #[actix_web::test]
    async fn successes_are_not_counted_and_forgive_failures() {
        let throttle = throttle();
        for _ in 0..500 {
            let Claim::Granted(attempt) = throttle.claim(ANN, network(1)).await else {
                panic!("successes are counted")
            };
            attempt.succeeded().await;
        }
        for _ in 0..3 {
            for _ in 0..9 {
                assert!(fails(&throttle, ANN, network(1)).await);
            }
            let Claim::Granted(attempt) = throttle.claim(ANN, network(1)).await else { panic!("it is refused") };
            attempt.succeeded().await;
        }
    }

    #[actix_web::test]
    async fn one_network_cannot_try_many_accounts() {
        let throttle = throttle();
        for account in 0..200 {
            assert!(fails(&throttle, &format!("{account}@club.example"), network(1)).await, "{account}");
        }
        assert!(!fails(&throttle, "one-more@club.example", network(1)).await);
        // A user who is known there gets in.
        let Claim::IfKnown(attempt, wait) = throttle.claim(ANN, network(1)).await else { panic!("it is refused") };
        assert!(wait <= Duration::from_secs(18), "{wait:?}");
        attempt.succeeded().await;
        assert!(fails(&throttle, ANN, network(2)).await, "another network is not refused");
    }

    #[actix_web::test]
    async fn many_networks_cannot_try_one_account() {
        let throttle = throttle();
        for try_number in 0..300 {
            assert!(fails(&throttle, ANN, network(try_number / 10)).await, "{try_number}");
        }
        assert!(!fails(&throttle, ANN, network(100)).await);
        // A user who is known at a network has the free failures of that network.
        for _ in 0..10 {
            let Claim::IfKnown(attempt, _) = throttle.claim(ANN, network(200)).await else { panic!("it is refused") };
            drop(attempt);
        }
        assert!(matches!(throttle.claim(ANN, network(200)).await, Claim::Refused(_)));
        // A try that is refused there is counted nowhere.
        for _ in 0..20 {
            assert!(!fails(&throttle, ANN, network(201)).await);
        }
        assert!(matches!(throttle.claim(ANN, network(201)).await, Claim::IfKnown(..)));
        assert!(fails(&throttle, "bob@club.example", network(100)).await);
    }
}
