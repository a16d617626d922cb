//! A foreign issuer of tokens: a real HTTP server with its public keys on a port of this machine, and the private keys.

use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// The audience of its tokens.
pub const AUDIENCE: &str = "touchline-of-tests";

/// What the issuer does when it is asked for its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// It sends them.
    Answers,
    /// It hangs up.
    Away,
    /// It takes a minute.
    Slow,
    /// It sends far too much.
    Endless,
}

/// A running issuer; it ends with the runtime of its test.
#[derive(Clone)]
pub struct Issuer {
    url: String,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    keys: Vec<Value>,
    behaviour: Behaviour,
    fetches: usize,
}

impl Issuer {
    /// Starts an issuer that publishes the keys of `signers`.
    pub async fn start(signers: &[&Signer]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Mutex::new(Shared { keys: Vec::new(), behaviour: Behaviour::Answers, fetches: 0 }));
        let issuer = Self { url, shared: Arc::clone(&shared) };
        issuer.publish(signers)?;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    // A client that hangs up is none of ours to worry about, here and below.
                    let _ = stream.read(&mut head).await;
                    let (body, behaviour) = {
                        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                        shared.fetches += 1;
                        (json!({"keys": shared.keys}).to_string(), shared.behaviour)
                    };
                    match behaviour {
                        Behaviour::Away => return,
                        Behaviour::Slow => tokio::time::sleep(Duration::from_secs(60)).await,
                        Behaviour::Answers | Behaviour::Endless => {}
                    }
                    let padding = if behaviour == Behaviour::Endless { " ".repeat(8 << 20) } else { String::new() };
                    let length = body.len() + padding.len();
                    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
                    let answer = format!("{head}Content-Length: {length}\r\n\r\n{padding}{body}");
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Ok(issuer)
    }

    /// Its name, the `iss` of its tokens.
    pub fn name(&self) -> String {
        format!("{}/", self.url)
    }

    /// Publishes the keys of `signers` and no others.
    pub fn publish(&self, signers: &[&Signer]) -> Result<()> {
        let keys = signers.iter().map(|signer| signer.jwk()).collect::<Result<_>>()?;
        self.change(|shared| shared.keys = keys);
        Ok(())
    }

    /// Behaves differently from now on.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        self.change(|shared| shared.behaviour = behaviour);
    }

    /// How often its keys were asked for.
    pub fn fetches(&self) -> usize {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).fetches
    }

    fn change(&self, change: impl FnOnce(&mut Shared)) {
        change(&mut self.shared.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// An entry of `auth.issuers` as TOML: `more` says which tenant, and who is what.
    pub fn entry(&self, more: &str) -> String {
        format!(
            "{{ issuer = '{}', jwks_url = '{}/jwks', audience = '{AUDIENCE}', \
             algorithms = ['RS256', 'ES256', 'EdDSA'], {more} }}",
            self.name(),
            self.url
        )
    }

    /// Claims of a good token that lives for five minutes.
    pub fn claims(&self, more: Value) -> Value {
        let now = Utc::now().timestamp();
        let mut claims = json!({
            "iss": self.name(), "aud": AUDIENCE, "sub": "ann", "iat": now, "nbf": now, "exp": now + 300,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        claims
    }
}

/// A private key.
pub struct Signer {
    id: String,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl Signer {
    /// A new key, made by the `openssl` program.
    pub fn new(id: &str, algorithm: Algorithm) -> Result<Self> {
        let key = match algorithm {
            Algorithm::RS256 => {
                let pem = openssl(&["genrsa", "-traditional", "2048"], &[])?;
                EncodingKey::from_rsa_der(&openssl(&["rsa", "-traditional", "-outform", "DER"], &pem)?)
            }
            Algorithm::ES256 => {
                let pem = openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], &[])?;
                EncodingKey::from_ec_der(&openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], &pem)?)
            }
            Algorithm::EdDSA => {
                EncodingKey::from_ed_der(&openssl(&["genpkey", "-algorithm", "ED25519", "-outform", "DER"], &[])?)
            }
            other => anyhow::bail!("{other:?} is no algorithm of these tests"),
        };
        Ok(Self { id: id.to_owned(), algorithm, key })
    }

    /// The public half, as an issuer publishes it.
    pub fn jwk(&self) -> Result<Value> {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&self.key, self.algorithm)?)?;
        jwk["kid"] = self.id.as_str().into();
        jwk["use"] = "sig".into();
        Ok(jwk)
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> Result<String> {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(self.algorithm) };
        jsonwebtoken::encode(&header, claims, &self.key).context("signing a token")
    }
}

/// What `openssl` writes for these arguments and this input.
fn openssl(arguments: &[&str], input: &[u8]) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("input");
    std::fs::write(&file, input)?;
    let output = Command::new("openssl").args(arguments).stdin(std::fs::File::open(file)?).output();
    let output = output.context("running openssl; install it with: apt-get install openssl")?;
    ensure!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}
