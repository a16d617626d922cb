//! Tokens of foreign issuers: a club's single sign-on signs them, we know its public keys and what its claims mean
//! here.
//!
//! [`jwks`] holds the keys; [`grant`] turns claims into a tenant and a role.

mod grant;
mod jwks;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use config::IssuerSettings;
use entities::users::Role;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::token::LEEWAY_SECONDS;
use grant::Grants;
use jwks::{Jwks, NoKey};

/// The longest token that is looked at, in bytes; what fits in a request's head is shorter anyway.
const LONGEST_TOKEN: usize = 16 * 1024;
/// How long an issuer may take to send its keys.
const FETCH_WITHIN: Duration = Duration::from_secs(5);

/// What a foreign token is worth here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vouched {
    /// Its subject, as one id for issuer and subject together: the same person always has the same.
    pub subject: Uuid,
    /// The tenant, by name or id.
    pub tenant: String,
    /// What it may do.
    pub role: Role,
    /// When it ends, in seconds since 1970.
    pub until: i64,
}

/// Why a foreign token is not accepted.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// Past its time.
    #[error("the token has expired; get a new one from its issuer")]
    Expired,
    /// Badly signed, for another audience, from the future, or without what is needed.
    #[error("the token is not valid")]
    Invalid,
    /// Good, but its claims name no tenant that its issuer may speak for.
    #[error("the token names no tenant that is known here")]
    NoTenant,
    /// Good, but none of its claims stands for a role.
    #[error("the token gives no role here")]
    NoRole,
    /// The issuer's keys are not known yet, and it does not answer.
    #[error("the token's issuer does not tell its keys; try again")]
    Away,
}

/// The issuers that are trusted.
#[derive(Default)]
pub struct Issuers(Vec<Issuer>);

struct Issuer {
    name: String,
    audience: String,
    keys: Jwks,
    grants: Grants,
}

impl Issuers {
    /// The issuers of the settings. Their keys are fetched when they are first needed.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(settings: &[IssuerSettings]) -> anyhow::Result<Self> {
        if settings.is_empty() {
            return Ok(Self::default());
        }
        let client = reqwest::Client::builder()
            .timeout(FETCH_WITHIN)
            // An address that was checked is not to lead to another one.
            .redirect(reqwest::redirect::Policy::none())
            // Keys are fetched rarely, by whichever thread comes first: no connection outlives its fetch.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("touchline/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let issuer = |entry: &IssuerSettings| Issuer {
            name: entry.issuer.clone(),
            audience: entry.audience.clone(),
            keys: Jwks::new(client.clone(), &entry.jwks_url, &entry.algorithms),
            grants: Grants::new(entry),
        };
        Ok(Self(settings.iter().map(issuer).collect()))
    }

    /// What a token is worth; `None` when it does not claim to be of any of these issuers.
    pub async fn vouch(&self, token: &str) -> Option<Result<Vouched, Refused>> {
        if self.0.is_empty() {
            return None;
        }
        let name = claimed_issuer(token)?;
        let issuer = self.0.iter().find(|issuer| issuer.name == name)?;
        Some(issuer.vouch(token).await)
    }
}

impl Issuer {
    async fn vouch(&self, token: &str) -> Result<Vouched, Refused> {
        // An unknown algorithm, `none` among them, is no header.
        let header = decode_header(token).map_err(|_| Refused::Invalid)?;
        // Extensions that must be understood are not.
        if header.crit.is_some() {
            return Err(Refused::Invalid);
        }
        let key = self.keys.find(header.kid.as_deref(), header.alg).await.map_err(|error| match error {
            NoKey::Unknown => Refused::Invalid,
            NoKey::Away => Refused::Away,
        })?;
        // The key says how it is used, not the token.
        let mut validation = Validation::new(key.algorithm);
        validation.set_issuer(&[&self.name]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = LEEWAY_SECONDS;
        let claims =
            decode::<Map<String, Value>>(token, &key.decoding, &validation).map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => Refused::Expired,
                _ => Refused::Invalid,
            })?;
        let claims = claims.claims;
        let number = |name: &str| claims.get(name).map(|value| value.as_f64().ok_or(Refused::Invalid)).transpose();
        let now = Utc::now().timestamp() as f64;
        if number("iat")?.is_some_and(|issued| issued > now + LEEWAY_SECONDS as f64) {
            return Err(Refused::Invalid);
        }
        let until = number("exp")?.ok_or(Refused::Invalid)? as i64;
        let subject = claims.get("sub").and_then(Value::as_str).filter(|subject| !subject.is_empty());
        let subject = subject_id(&self.name, subject.ok_or(Refused::Invalid)?);
        let tenant = self.grants.tenant(&claims).ok_or(Refused::NoTenant)?.to_owned();
        let role = self.grants.role(&claims).ok_or(Refused::NoRole)?;
        Ok(Vouched { subject, tenant, role, until })
    }
}

/// The issuer that a token claims to be of, before anything is believed.
fn claimed_issuer(token: &str) -> Option<String> {
    if token.len() > LONGEST_TOKEN {
        return None;
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&claims).ok()?;
    Some(claims["iss"].as_str()?.to_owned())
}

/// One id for a subject of an issuer.
fn subject_id(issuer: &str, subject: &str) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(issuer);
    hash.update([0]);
    hash.update(subject);
    let hash: [u8; 32] = hash.finalize().into();
    let (first, _) = hash.split_first_chunk::<16>().expect("a SHA-256 has more than 16 bytes");
    uuid::Builder::from_custom_bytes(*first).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_has_one_id_at_its_issuer_and_another_elsewhere() {
        let ann = subject_id("https://a/", "ann");
        assert_eq!(ann, subject_id("https://a/", "ann"));
        assert_ne!(ann, subject_id("https://b/", "ann"));
        assert_ne!(ann, subject_id("https://a/", "bob"));
    }

    #[test]
    fn what_is_no_token_claims_no_issuer() {
        for text in ["", "a.b.c", "..", "x", &format!("a.{}.c", URL_SAFE_NO_PAD.encode("[1]"))] {
            assert_eq!(claimed_issuer(text), None, "{text}");
        }
        let good = format!("a.{}.c", URL_SAFE_NO_PAD.encode(r#"{"iss": "me"}"#));
        assert_eq!(claimed_issuer(&good).as_deref(), Some("me"));
    }
}
