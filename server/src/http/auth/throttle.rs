//! Login throttling: after too many failures for one address, the next tries wait. Successes are
//! never counted, so a busy club is never locked out by its own logins.

use std::sync::Arc;
use std::time::Duration;

use actors::ephemeral::EphemeralStore;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// Failures of one e-mail address before it has to wait.
const FREE_FAILURES: u64 = 10;
/// How long failures are remembered after the last one.
const MEMORY: Duration = Duration::from_secs(60);

/// Counts failed logins by e-mail address, at all nodes together where they share a Redis.
pub struct LoginThrottle(Arc<dyn EphemeralStore>);

impl LoginThrottle {
    /// A throttle that counts in `failures`.
    pub fn new(failures: Arc<dyn EphemeralStore>) -> Self {
        Self(failures)
    }

    /// Seconds to wait before `email` may try again; `None` when it may try now.
    pub async fn wait(&self, email: &str) -> Option<u64> {
        let (count, left) = self.0.counted(&key(email)).await?;
        (count >= FREE_FAILURES).then(|| left.as_secs() + 1)
    }

    /// Remembers a failure.
    pub async fn failed(&self, email: &str) {
        self.0.count(&key(email), MEMORY).await;
    }

    /// Forgets an address' failures, after a success.
    pub async fn succeeded(&self, email: &str) {
        self.0.forget(&key(email)).await;
    }
}

/// Hashed, so that no address lies in Redis.
fn key(email: &str) -> String {
    let hash = Sha256::digest(email.trim().to_lowercase());
    format!("failed-logins:{}", URL_SAFE_NO_PAD.encode(hash))
}

#[cfg(test)]
mod tests {
    use actors::ephemeral::MemoryStore;

    use super::*;

    #[actix_web::test]
    async fn only_repeated_failures_make_an_address_wait() {
        let throttle = LoginThrottle::new(Arc::new(MemoryStore::default()));
        for _ in 0..FREE_FAILURES - 1 {
            throttle.failed("Ann@club.example").await;
        }
        assert!(throttle.wait("ann@club.example").await.is_none());
        throttle.failed("ann@club.example").await;
        assert!(throttle.wait("ann@club.example").await.is_some());
        assert!(throttle.wait("bob@club.example").await.is_none());
        throttle.succeeded("ann@club.example").await;
        assert!(throttle.wait("ann@club.example").await.is_none());
    }
}
