//! Secrets and signatures of Standard Webhooks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use entities::webhooks::Webhook;
use rand::TryRngCore;
use rand::rngs::OsRng;
use standardwebhooks::WebhookError;

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
///
/// # Errors
/// When a stored secret is not base64. Without its key nothing may be sent: a signature by any other key is worthless.
pub fn signatures(webhook: &Webhook, id: &str, at: DateTime<Utc>, body: &str) -> Result<String, WebhookError> {
    let previous =
        webhook.previous_secret.as_deref().filter(|_| webhook.previous_until.is_some_and(|until| at < until));
    let secrets = std::iter::once(webhook.secret.as_str()).chain(previous);
    let signed: Result<Vec<_>, _> = secrets.map(|secret| sign(secret, id, at, body)).collect();
    Ok(signed?.join(" "))
}

fn sign(secret: &str, id: &str, at: DateTime<Utc>, body: &str) -> Result<String, WebhookError> {
    standardwebhooks::Webhook::new(secret)?.sign(id, at.timestamp(), body.as_bytes())
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
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_broken_secret_signs_nothing() {
        assert!(sign("whsec_not base64", "msg", DateTime::UNIX_EPOCH, "{}").is_err());
    }
}
