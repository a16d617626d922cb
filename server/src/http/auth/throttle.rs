//! Login throttling: after too many failures for one address, the next tries wait. Successes are
//! never counted, so a busy club is never locked out by its own logins.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Failures of one e-mail address before it has to wait.
const FREE_FAILURES: u32 = 10;
/// How long failures are remembered after the last one.
const MEMORY: Duration = Duration::from_secs(60);
/// Addresses remembered at most; beyond it the oldest memory goes first.
const REMEMBERED: usize = 10_000;

/// Counts failed logins by e-mail address.
#[derive(Default)]
pub struct LoginThrottle(Mutex<HashMap<String, Failures>>);

struct Failures {
    count: u32,
    last: Instant,
}

impl LoginThrottle {
    /// Seconds to wait before `email` may try again; `None` when it may try now.
    pub fn wait(&self, email: &str) -> Option<u64> {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = failures.get(&key(email))?;
        let left = MEMORY.checked_sub(failed.last.elapsed())?;
        (failed.count >= FREE_FAILURES).then(|| left.as_secs() + 1)
    }

    /// Remembers a failure.
    pub fn failed(&self, email: &str) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= REMEMBERED {
            failures.retain(|_, failed| failed.last.elapsed() < MEMORY);
        }
        if failures.len() >= REMEMBERED {
            let oldest = failures.iter().min_by_key(|(_, failed)| failed.last).map(|(email, _)| email.clone());
            oldest.map(|email| failures.remove(&email));
        }
        let now = Instant::now();
        let failed = failures.entry(key(email)).or_insert(Failures { count: 0, last: now });
        if failed.last.elapsed() >= MEMORY {
            failed.count = 0;
        }
        failed.count += 1;
        failed.last = now;
    }

    /// Forgets an address' failures, after a success.
    pub fn succeeded(&self, email: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(email));
    }
}

fn key(email: &str) -> String {
    email.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_repeated_failures_make_an_address_wait() {
        let throttle = LoginThrottle::default();
        for _ in 0..FREE_FAILURES - 1 {
            throttle.failed("Ann@club.example");
        }
        assert!(throttle.wait("ann@club.example").is_none());
        throttle.failed("ann@club.example");
        assert!(throttle.wait("ann@club.example").is_some());
        assert!(throttle.wait("bob@club.example").is_none());
        throttle.succeeded("ann@club.example");
        assert!(throttle.wait("ann@club.example").is_none());
    }
}
