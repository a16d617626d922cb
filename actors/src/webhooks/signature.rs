//! Secrets and signatures of Standard Webhooks: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use entities::webhooks::Webhook;
use hmac::{Hmac, KeyInit, Mac};
use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::Sha256;

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// Random bytes of a secret: the specification asks for 24 to 64.
const SECRET_BYTES: usize = 32;

/// A new secret, as receivers' libraries take it.
pub fn new_secret() -> String {
    let mut bytes = [0; SECRET_BYTES];
    OsRng.try_fill_bytes(&mut bytes).expect("the operating system provides random bytes");
    format!("{PREFIX}{}", STANDARD.encode(bytes))
}

/// The `webhook-signature` header: one signature, or two while the secret changes.
pub fn signatures(webhook: &Webhook, id: &str, at: DateTime<Utc>, body: &str) -> String {
    let previous =
        webhook.previous_secret.as_deref().filter(|_| webhook.previous_until.is_some_and(|until| at < until));
    let signed = std::iter::once(webhook.secret.as_str()).chain(previous).map(|secret| sign(secret, id, at, body));
    signed.collect::<Vec<_>>().join(" ")
}

fn sign(secret: &str, id: &str, at: DateTime<Utc>, body: &str) -> String {
    // Secrets are ours: they always are base64.
    let key = STANDARD.decode(secret.trim_start_matches(PREFIX)).unwrap_or_default();
    let mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes keys of any length");
    let message = format!("{id}.{}.{body}", at.timestamp());
    format!("v1,{}", STANDARD.encode(mac.chain_update(message).finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_own_example_is_signed_as_it_says() {
        // Standard Webhooks, reference libraries' test vector.
        let at = DateTime::from_timestamp(1_614_265_330, 0).unwrap();
        let signed = sign(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            at,
            r#"{"test": 2432232314}"#,
        );
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
