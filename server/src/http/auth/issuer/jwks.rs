//! An issuer's public keys: fetched when needed, kept for a while, and kept on while the issuer is away.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use config::IssuerAlgorithm;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::header::CACHE_CONTROL;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

/// How long keys are used before they are fetched again, unless the issuer says otherwise.
const FRESH: Duration = Duration::from_secs(600);
/// What an issuer may say about that.
const FRESH_AT_LEAST: Duration = Duration::from_secs(60);
const FRESH_AT_MOST: Duration = Duration::from_secs(3600);
/// How long keys are used on while the issuer does not answer: it makes no new tokens meanwhile, either.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Time between two fetches at least, whatever is asked for.
const FETCH_EVERY: Duration = Duration::from_secs(5);
/// The longest answer, in bytes.
const LONGEST: usize = 256 * 1024;
/// Keys of one issuer at most.
const MOST_KEYS: usize = 100;

/// A public key and the only way to use it.
#[derive(Clone)]
pub(super) struct PublicKey {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

/// Why there is no key for a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// The issuer has no such key.
    Unknown,
    /// The issuer's keys are not known.
    Away,
}

/// See the [module](self).
pub(super) struct Jwks(Arc<Inner>);

struct Inner {
    client: reqwest::Client,
    url: String,
    accepted: Vec<Algorithm>,
    held: RwLock<Held>,
    /// Held while fetching, so that one request asks and the others wait for its answer.
    fetching: Mutex<()>,
}

#[derive(Clone, Default)]
struct Held {
    keys: Arc<[PublicKey]>,
    /// When the keys came, and until when they need not be fetched again.
    came: Option<(Instant, Instant)>,
    /// When the last fetch began.
    asked: Option<Instant>,
}

impl Held {
    fn may_ask(&self) -> bool {
        self.asked.is_none_or(|at| at.elapsed() >= FETCH_EVERY)
    }

    fn is_stale(&self) -> bool {
        self.came.is_none_or(|(_, fresh_until)| Instant::now() >= fresh_until)
    }

    /// The key for a token; `None` when the issuer may have a newer answer.
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<PublicKey> {
        self.came.filter(|(came, _)| came.elapsed() < KEPT)?;
        let mut fitting = self.keys.iter().filter(|key| key.algorithm == algorithm);
        match id {
            Some(id) => fitting.find(|key| key.id.as_deref() == Some(id)).cloned(),
            // A token that does not say which key can only mean the only one.
            None => fitting.next().filter(|_| fitting.next().is_none()).cloned(),
        }
    }

    /// Why there is no key.
    fn nothing(&self) -> NoKey {
        match self.came {
            Some((came, _)) if came.elapsed() < KEPT => NoKey::Unknown,
            _ => NoKey::Away,
        }
    }
}

impl Jwks {
    pub(super) fn new(client: reqwest::Client, url: &str, accepted: &[IssuerAlgorithm]) -> Self {
        let accepted = accepted.iter().map(|algorithm| match algorithm {
            IssuerAlgorithm::RS256 => Algorithm::RS256,
            IssuerAlgorithm::ES256 => Algorithm::ES256,
            IssuerAlgorithm::EdDSA => Algorithm::EdDSA,
        });
        let accepted = accepted.collect();
        let (held, fetching) = (RwLock::default(), Mutex::default());
        Self(Arc::new(Inner { client, url: url.to_owned(), accepted, held, fetching }))
    }

    /// The key that a token with this header was signed by.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<PublicKey, NoKey> {
        if !self.0.accepted.contains(&algorithm) {
            return Err(NoKey::Unknown);
        }
        let held = self.0.held();
        if let Some(key) = held.find(id, algorithm) {
            if held.is_stale() && held.may_ask() {
                // Not awaited: the keys at hand are still valid.
                let inner = Arc::clone(&self.0);
                actix_web::rt::spawn(async move { inner.fetch(|held| held.is_stale()).await });
            }
            return Ok(key);
        }
        if held.may_ask() {
            self.0.fetch(|held| held.find(id, algorithm).is_none()).await;
        }
        let held = self.0.held();
        held.find(id, algorithm).ok_or_else(|| held.nothing())
    }
}

impl Inner {
    fn held(&self) -> Held {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        change(&mut self.held.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Fetches the keys, unless another request has just done so or they are not `needed` any more.
    async fn fetch(&self, needed: impl Fn(&Held) -> bool) {
        let _one_at_a_time = self.fetching.lock().await;
        let held = self.held();
        if !held.may_ask() || !needed(&held) {
            return;
        }
        self.change(|held| held.asked = Some(Instant::now()));
        match self.download().await {
            Ok((keys, fresh)) => {
                let now = Instant::now();
                tracing::info!(url = self.url, keys = keys.len(), "the keys of an issuer came");
                self.change(|held| (held.keys, held.came) = (keys.into(), Some((now, now + fresh))));
            }
            Err(error) => tracing::warn!(url = self.url, error = format!("{error:#}"), "no keys of an issuer"),
        }
    }

    async fn download(&self) -> anyhow::Result<(Vec<PublicKey>, Duration)> {
        let mut answer = self.client.get(&self.url).send().await?;
        ensure!(answer.status() == reqwest::StatusCode::OK, "it answers {}", answer.status());
        let stated = answer.headers().get(CACHE_CONTROL).and_then(|value| value.to_str().ok()).and_then(max_age);
        let fresh = stated.unwrap_or(FRESH).clamp(FRESH_AT_LEAST, FRESH_AT_MOST);
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            ensure!(body.len() + chunk.len() <= LONGEST, "its answer is longer than {LONGEST} bytes");
            body.extend_from_slice(&chunk);
        }
        let keys = read(&body, &self.accepted)?;
        ensure!(!keys.is_empty(), "it has no key that could be used");
        Ok((keys, fresh))
    }
}

/// `max-age` of a Cache-Control header.
fn max_age(header: &str) -> Option<Duration> {
    let mut directives = header.split(',').map(str::trim);
    directives.find_map(|directive| directive.strip_prefix("max-age=")?.parse().ok()).map(Duration::from_secs)
}

/// The keys of a JWK set that can be used; others, and unsupported ones, are left out.
fn read(set: &[u8], accepted: &[Algorithm]) -> anyhow::Result<Vec<PublicKey>> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Value>,
    }
    let set: Set = serde_json::from_slice(set).context("its answer is no JWK set")?;
    ensure!(set.keys.len() <= MOST_KEYS, "it has more than {MOST_KEYS} keys");
    let keys = set.keys.into_iter().filter_map(|key| public_key(&serde_json::from_value(key).ok()?));
    Ok(keys.filter(|key| accepted.contains(&key.algorithm)).collect())
}

fn public_key(jwk: &Jwk) -> Option<PublicKey> {
    // A symmetric key in a public place is worth nothing, whatever it says.
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let common = &jwk.common;
    let signs = common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
    let agrees = common.key_algorithm.is_none_or(|stated| stated == named);
    let decoding = DecodingKey::from_jwk(jwk).ok().filter(|_| signs && agrees)?;
    Some(PublicKey { id: common.key_id.clone(), algorithm, decoding })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALL: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

    fn ed(id: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }

    fn with(mut key: Value, name: &str, value: &str) -> Value {
        key[name] = value.into();
        key
    }

    #[test]
    fn a_key_is_used_for_what_its_type_is_for() {
        let set = json!({"keys": [
            ed("plain"),
            with(ed("stated"), "alg", "EdDSA"),
            with(ed("contradicts itself"), "alg", "RS256"),
            with(ed("lies"), "alg", "HS256"),
            with(ed("encrypts"), "use", "enc"),
            {"kty": "oct", "kid": "symmetric", "k": "c2VjcmV0", "alg": "HS256"},
            {"kty": "EC", "crv": "P-384", "kid": "other curve", "x": "AA", "y": "AA"},
            {"kty": "AKP", "kid": "from the future"},
            "no key at all",
        ]});
        let keys = read(set.to_string().as_bytes(), &ALL).unwrap();
        let ids: Vec<_> = keys.iter().map(|key| key.id.as_deref().unwrap()).collect();
        assert_eq!(ids, ["plain", "stated"]);
        assert!(read(set.to_string().as_bytes(), &[Algorithm::RS256]).unwrap().is_empty());
        assert!(read(b"[]", &ALL).is_err());
        assert!(read(json!({"keys": vec![ed("a"); 101]}).to_string().as_bytes(), &ALL).is_err());
    }

    #[test]
    fn a_token_without_a_key_id_means_the_only_key() {
        let held = |set: Value| Held {
            keys: read(set.to_string().as_bytes(), &ALL).unwrap().into(),
            came: Some((Instant::now(), Instant::now())),
            asked: None,
        };
        let one = held(json!({"keys": [ed("a")]}));
        assert!(one.find(None, Algorithm::EdDSA).is_some() && one.find(Some("a"), Algorithm::EdDSA).is_some());
        assert!(one.find(Some("b"), Algorithm::EdDSA).is_none() && one.find(Some("a"), Algorithm::RS256).is_none());
        assert!(held(json!({"keys": [ed("a"), ed("b")]})).find(None, Algorithm::EdDSA).is_none());
    }

    #[test]
    fn the_age_is_read_from_the_header() {
        assert_eq!(max_age("public, max-age=300, must-revalidate"), Some(Duration::from_secs(300)));
        assert_eq!(max_age("no-store"), None);
        assert_eq!(max_age("max-age=soon"), None);
    }
}
