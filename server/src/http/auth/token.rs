//! Access tokens: HS256 JSON Web Tokens that live a quarter of an hour, unless configured otherwise.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use entities::users::{Role, User};
use entities::{TenantId, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The `iss` claim.
const ISSUER: &str = "touchline";
/// The `aud` claim.
const AUDIENCE: &str = "touchline-api";
/// How long, and of how many tokens, a checked signature is remembered.
const CHECKED_FOR: Duration = Duration::from_secs(60);
const CHECKED: u64 = 10_000;
/// How far clocks may be apart, in seconds.
pub const LEEWAY_SECONDS: u64 = 5;

/// What an access token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    /// Always `touchline`.
    pub iss: String,
    /// Always `touchline-api`.
    pub aud: String,
    /// The user.
    pub sub: UserId,
    /// The tenant the user belongs to.
    pub tid: TenantId,
    /// What the user may do.
    pub role: Role,
    /// This token.
    pub jti: Uuid,
    /// Issued at, seconds since 1970.
    pub iat: i64,
    /// Expires at, seconds since 1970.
    pub exp: i64,
    /// The user's session epoch: a change of the password ends the tokens of those before.
    #[serde(default)]
    pub epoch: i64,
}

/// Signs and checks access tokens, and remembers the ones that were logged out.
#[derive(Clone)]
pub struct AccessTokens {
    life_seconds: i64,
    signing: EncodingKey,
    /// The current key first, then the previous one while secrets rotate.
    verifying: Vec<DecodingKey>,
    validation: Validation,
    /// `jti` to `exp` of tokens that were logged out before they expired.
    logged_out: Arc<Mutex<HashMap<Uuid, i64>>>,
    /// What tokens say whose signature was checked a moment ago, by the SHA-256 of their text: a signature does not
    /// change. Whether one has expired or was logged out is looked at each time.
    checked: Cache<[u8; 32], Arc<Claims>>,
}

/// Why an access token does not hold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TokenError {
    /// Past its time.
    #[error("the access token has expired; refresh it or log in again")]
    Expired,
    /// Logged out.
    #[error("the access token was logged out; log in again")]
    LoggedOut,
    /// Anything else: not ours, tampered with, another algorithm.
    #[error("the access token is not valid; log in again")]
    Invalid,
}

impl AccessTokens {
    /// Tokens signed with `secret` that live `life_seconds`; those signed with `previous` still hold.
    pub fn new(secret: &[u8], previous: Option<&[u8]>, life_seconds: i64) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        // The library checks issuer and audience only where they are present, so they are required.
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.leeway = LEEWAY_SECONDS;
        Self {
            life_seconds,
            signing: EncodingKey::from_secret(secret),
            verifying: std::iter::once(secret).chain(previous).map(DecodingKey::from_secret).collect(),
            validation,
            logged_out: Arc::default(),
            checked: Cache::builder().max_capacity(CHECKED).time_to_live(CHECKED_FOR).build(),
        }
    }

    /// How long a token lives.
    pub fn life_seconds(&self) -> i64 {
        self.life_seconds
    }

    /// A new token for a user, as its row is.
    ///
    /// # Errors
    /// When the claims cannot be signed, which is a fault of the program.
    pub fn issue(&self, user: &User) -> Result<String, jsonwebtoken::errors::Error> {
        let now = Utc::now().timestamp();
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: user.id,
            tid: user.tenant_id,
            role: user.role,
            jti: Uuid::now_v7(),
            iat: now,
            exp: now + self.life_seconds,
            epoch: user.session_epoch,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.signing)
    }

    /// The claims of a token that holds.
    ///
    /// # Errors
    /// When it is expired, logged out, or not one of ours.
    pub fn verify(&self, token: &str) -> Result<Arc<Claims>, TokenError> {
        let text = Sha256::digest(token).into();
        let claims = match self.checked.get(&text) {
            Some(claims) if claims.exp + (LEEWAY_SECONDS as i64) < Utc::now().timestamp() => {
                return Err(TokenError::Expired);
            }
            Some(claims) => claims,
            None => {
                let claims = Arc::new(self.check(token)?);
                self.checked.insert(text, Arc::clone(&claims));
                claims
            }
        };
        if self.is_logged_out(&claims.jti) {
            return Err(TokenError::LoggedOut);
        }
        Ok(claims)
    }

    /// The claims of a token that is signed by us and has not expired.
    fn check(&self, token: &str) -> Result<Claims, TokenError> {
        use jsonwebtoken::errors::ErrorKind;

        let mut failure = TokenError::Invalid;
        for key in &self.verifying {
            match jsonwebtoken::decode::<Claims>(token, key, &self.validation) {
                Ok(data) => return Ok(data.claims),
                Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => failure = TokenError::Expired,
                Err(_) => {}
            }
        }
        Err(failure)
    }

    /// Makes a token worthless before it expires.
    pub fn log_out(&self, claims: &Claims) {
        self.remember(claims.jti, claims.exp);
    }

    /// Remembers that a token that ends at `expires` was logged out, here or at another node.
    pub fn remember(&self, jti: Uuid, expires: i64) {
        let now = Utc::now().timestamp() - LEEWAY_SECONDS as i64;
        let mut logged_out = self.logged_out.lock().unwrap_or_else(PoisonError::into_inner);
        logged_out.retain(|_, expires| *expires >= now);
        logged_out.insert(jti, expires);
    }

    /// The tokens that were logged out and when they expire.
    pub fn logged_out(&self) -> Vec<(Uuid, i64)> {
        let logged_out = self.logged_out.lock().unwrap_or_else(PoisonError::into_inner);
        logged_out.iter().map(|(jti, expires)| (*jti, *expires)).collect()
    }

    fn is_logged_out(&self, jti: &Uuid) -> bool {
        self.logged_out.lock().unwrap_or_else(PoisonError::into_inner).contains_key(jti)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: i64 = 900;
    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn claims(exp: i64) -> Claims {
        Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: UserId::new(),
            tid: TenantId::new(),
            role: Role::Viewer,
            jti: Uuid::now_v7(),
            iat: exp - LIFE,
            exp,
            epoch: 0,
        }
    }

    fn user() -> User {
        User {
            id: UserId::new(),
            tenant_id: TenantId::new(),
            email: "ann@club.example".to_owned(),
            password_hash: String::new(),
            role: Role::Editor,
            created_at: Utc::now(),
            session_epoch: 3,
        }
    }

    fn signed(header: &Header, claims: &impl Serialize, secret: &[u8]) -> String {
        jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret)).unwrap()
    }

    #[test]
    fn an_issued_token_tells_who_it_is_for() {
        let tokens = AccessTokens::new(SECRET, None, LIFE);
        let user = user();
        let claims = tokens.verify(&tokens.issue(&user).unwrap()).unwrap();
        assert_eq!((claims.sub, claims.tid, claims.role), (user.id, user.tenant_id, Role::Editor));
        assert_eq!(claims.epoch, 3);
        assert_eq!(claims.exp - claims.iat, LIFE);
    }

    #[test]
    fn expiry_has_five_seconds_of_leeway() {
        let tokens = AccessTokens::new(SECRET, None, LIFE);
        let now = Utc::now().timestamp();
        let header = Header::new(Algorithm::HS256);
        assert!(tokens.verify(&signed(&header, &claims(now - 2), SECRET)).is_ok());
        assert_eq!(tokens.verify(&signed(&header, &claims(now - 20), SECRET)).unwrap_err(), TokenError::Expired);
    }

    #[test]
    fn foreign_tokens_do_not_hold() {
        let tokens = AccessTokens::new(SECRET, None, LIFE);
        let later = Utc::now().timestamp() + 60;
        let hs256 = Header::new(Algorithm::HS256);
        let other_secret = signed(&hs256, &claims(later), b"another secret of thirty-two byte");
        let other_algorithm = signed(&Header::new(Algorithm::HS512), &claims(later), SECRET);
        let other_audience = signed(&hs256, &Claims { aud: "other".into(), ..claims(later) }, SECRET);
        let other_issuer = signed(&hs256, &Claims { iss: "other".into(), ..claims(later) }, SECRET);
        let mut without_audience = serde_json::to_value(claims(later)).unwrap();
        without_audience.as_object_mut().unwrap().remove("aud");
        let without_audience = signed(&hs256, &without_audience, SECRET);
        // {"alg":"none"} with the claims of a good token and no signature.
        let good = signed(&hs256, &claims(later), SECRET);
        let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap());
        for token in [other_secret, other_algorithm, other_audience, other_issuer, without_audience, unsigned] {
            assert_eq!(tokens.verify(&token).unwrap_err(), TokenError::Invalid, "{token}");
        }
    }

    #[test]
    fn the_previous_secret_still_verifies_while_rotating() {
        let old = AccessTokens::new(SECRET, None, LIFE);
        let token = old.issue(&user()).unwrap();
        let next = b"fedcba9876543210fedcba9876543210";
        assert!(AccessTokens::new(next, Some(SECRET), LIFE).verify(&token).is_ok());
        assert!(AccessTokens::new(next, None, LIFE).verify(&token).is_err());
    }

    #[test]
    fn a_logged_out_token_stays_out() {
        let tokens = AccessTokens::new(SECRET, None, LIFE);
        let token = tokens.issue(&user()).unwrap();
        let claims = tokens.verify(&token).unwrap();
        tokens.log_out(&claims);
        assert_eq!(tokens.verify(&token).unwrap_err(), TokenError::LoggedOut);
    }
}
