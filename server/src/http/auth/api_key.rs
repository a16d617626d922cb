//! API keys as clients hold them: a prefix by which people and scanners recognise one, and 256 random bits. So much
//! entropy needs no slow hash: SHA-256 is stored.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use entities::api_keys;
use entities::{ApiKeyId, Database};
use sha2::{Digest, Sha256};

use super::secret::random_text;

/// How every key begins; no other credential does.
pub const PREFIX: &str = "tl_";
/// Characters of a key that are kept and shown, the prefix included.
const HINT: usize = 8;
/// The accuracy of the stored time at which a key was last used.
const USED_EVERY: Duration = Duration::from_secs(60);

/// The text of a new key. It is shown once and then forgotten.
pub fn generate() -> String {
    format!("{PREFIX}{}", random_text::<32>())
}

/// The first characters of a key, by which its owner recognises it.
pub fn hint(key: &str) -> String {
    key.chars().take(HINT).collect()
}

/// SHA-256 of a key, in hexadecimal.
pub fn sha256(key: &str) -> String {
    Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Records when keys are used: each at most once a minute, and beside the requests that use them.
#[derive(Default)]
pub struct KeyUse(Mutex<HashMap<ApiKeyId, Instant>>);

impl KeyUse {
    /// Records in the background that a key is used now, unless that was done within the last minute.
    pub fn note(&self, db: &Database, key: ApiKeyId) {
        if !self.is_due(key) {
            return;
        }
        let db = db.clone();
        actix_web::rt::spawn(async move {
            // Another node may have written it meanwhile.
            let since = Utc::now() - TimeDelta::seconds(USED_EVERY.as_secs() as i64);
            if let Err(error) = api_keys::mark_used(&db, key, since).await {
                tracing::warn!(%key, %error, "the use of an API key could not be noted");
            }
        });
    }

    fn is_due(&self, key: ApiKeyId) -> bool {
        let now = Instant::now();
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.get(&key).is_some_and(|at| now.duration_since(*at) < USED_EVERY) {
            return false;
        }
        noted.retain(|_, at| now.duration_since(*at) < USED_EVERY);
        noted.insert(key, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_recognised_and_its_hash_is_that_of_the_text() {
        let (one, other) = (generate(), generate());
        assert!(one.starts_with(PREFIX) && one.len() == PREFIX.len() + 43, "{one}");
        assert_ne!(one, other);
        assert_eq!(hint(&one), one[..8]);
        assert_eq!(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn the_use_of_a_key_is_due_once_a_minute() {
        let (used, key) = (KeyUse::default(), ApiKeyId::new());
        assert!(used.is_due(key));
        assert!(!used.is_due(key));
        assert!(used.is_due(ApiKeyId::new()));
    }
}
