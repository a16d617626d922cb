//! HTTPS: the certificate and its key, read again when their files change, so that a renewed certificate needs no
//! restart.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use actix_web::web;
use anyhow::{Context, ensure};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// How often the files are checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// The certificate that is shown to clients, with its key.
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

struct Inner {
    certificate: PathBuf,
    key: PathBuf,
    shown: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    /// Reads both files.
    ///
    /// # Errors
    /// When one cannot be read, holds no certificate or no key, or the two do not belong together.
    pub fn load(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let shown = RwLock::new(read(certificate, key)?);
        Ok(Self(Arc::new(Inner { certificate: certificate.to_owned(), key: key.to_owned(), shown })))
    }

    /// How a listener speaks TLS with it: versions 1.2 and 1.3.
    ///
    /// # Errors
    /// When the library lacks these versions, which is a fault of the build.
    pub fn config(&self) -> anyhow::Result<ServerConfig> {
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        Ok(builder.with_no_client_auth().with_cert_resolver(Arc::clone(&self.0) as Arc<dyn ResolvesServerCert>))
    }

    /// Reads the files again whenever they change; runs until it is dropped. Files that cannot be used are reported in the
    /// log, and the former certificate is shown on.
    pub async fn follow(self) {
        let mut checks = tokio::time::interval(CHECK_INTERVAL);
        let mut seen = self.changed().await;
        loop {
            checks.tick().await;
            let now = self.changed().await;
            if now == seen {
                continue;
            }
            seen = now;
            let inner = Arc::clone(&self.0);
            match web::block(move || read(&inner.certificate, &inner.key)).await {
                Ok(Ok(fresh)) => {
                    *self.0.shown.write().unwrap_or_else(PoisonError::into_inner) = fresh;
                    tracing::info!("the TLS certificate was read again");
                }
                Ok(Err(error)) => {
                    tracing::error!(error = format!("{error:#}"), "the new TLS certificate cannot be used")
                }
                Err(error) => tracing::error!(%error, "the TLS certificate could not be read again"),
            }
        }
    }

    /// When the files last changed.
    async fn changed(&self) -> [Option<SystemTime>; 2] {
        let time = async |path: &Path| tokio::fs::metadata(path).await.and_then(|file| file.modified()).ok();
        [time(&self.0.certificate).await, time(&self.0.key).await]
    }
}

impl ResolvesServerCert for Inner {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Without the key.
impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn read(certificate: &Path, key: &Path) -> anyhow::Result<Arc<CertifiedKey>> {
    let named = |what: &str, path: &Path| format!("cannot use {what} {}", path.display());
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| named("the certificate tls.certificate =", certificate))?;
    ensure!(!chain.is_empty(), "there is no certificate in tls.certificate = {}", certificate.display());
    let private = PrivateKeyDer::from_pem_file(key).with_context(|| named("the private key tls.key =", key))?;
    let pair = CertifiedKey::from_der(chain, private, &provider())
        .with_context(|| format!("{} and {} do not go together", certificate.display(), key.display()))?;
    Ok(Arc::new(pair))
}
