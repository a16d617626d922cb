//! What every handler shares.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use actors::Node;
use actors::ephemeral::{EphemeralStore, MemoryStore, RedisStore};
use anyhow::Context;
use entities::{Database, VideoId};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;

use super::auth::api_key::KeyUse;
use super::auth::issuer::Issuers;
use super::auth::refresh::RefreshTokens;
use super::auth::secret;
use super::auth::signature::LinkSigner;
use super::auth::throttle::LoginThrottle;
use super::auth::ticket::{TICKET_LIFE, Tickets};
use super::auth::token::AccessTokens;
use super::extract::PrincipalCache;
use super::rates::Rates;

/// The running node and the server's own small things.
pub struct State {
    /// The services of the running node.
    pub node: Node,
    /// The rows.
    pub db: Database,
    /// Signs and checks access tokens.
    pub tokens: AccessTokens,
    /// Checks the tokens of foreign issuers.
    pub issuers: Issuers,
    /// Signs, rotates and revokes refresh tokens.
    pub refresh: RefreshTokens,
    /// Signs and checks shared links.
    pub links: LinkSigner,
    /// When API keys were used.
    pub key_use: KeyUse,
    /// How users stand.
    pub principals: PrincipalCache,
    /// How fast requests come.
    pub rates: Rates,
    /// WebSocket tickets not used yet.
    pub tickets: Tickets,
    /// Failed logins.
    pub throttle: LoginThrottle,
    /// The folder of unfinished uploads.
    pub uploads_dir: PathBuf,
    /// Uploads that are being written.
    pub writing: Arc<UploadLocks>,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// Turns true when the server stops; sockets close then.
    pub stopping: watch::Receiver<bool>,
}

impl State {
    /// Collects what the handlers need, reading or making the deployment's secret.
    ///
    /// # Errors
    /// When the secret cannot be read or made.
    pub fn new(node: Node, metrics: PrometheusHandle, stopping: watch::Receiver<bool>) -> anyhow::Result<Self> {
        let auth = &node.settings().auth;
        let data_dir = std::path::absolute(&node.settings().data_dir).context("finding data_dir")?;
        let secret = secret::load_or_create(auth.secret.expose(), &data_dir)?;
        let previous = auth.previous_secret.expose().map(str::as_bytes);
        let brief: Arc<dyn EphemeralStore> = match &node.redis {
            Some(redis) => Arc::new(RedisStore::new(redis.clone())),
            None => Arc::new(MemoryStore::default()),
        };
        Ok(Self {
            tokens: AccessTokens::new(&secret, previous, i64::from(auth.access_minutes) * 60),
            issuers: Issuers::new(&auth.issuers).context("preparing the issuers of tokens")?,
            refresh: RefreshTokens::new(&secret, previous, auth.refresh_days),
            links: LinkSigner::new(&secret, previous),
            key_use: KeyUse::default(),
            principals: PrincipalCache::default(),
            rates: Rates::new(Arc::clone(&brief), &node.settings().server),
            tickets: Tickets::new(TICKET_LIFE, Arc::clone(&brief)),
            throttle: LoginThrottle::new(brief),
            uploads_dir: data_dir.join("uploads"),
            writing: Arc::default(),
            db: node.database().clone(),
            node,
            metrics,
            stopping,
        })
    }
}

/// The uploads that a request is writing to: one writer at a time each.
#[derive(Default)]
pub struct UploadLocks(Mutex<HashSet<VideoId>>);

impl UploadLocks {
    /// The right to write to an upload, returned when dropped; `None` while another request has it.
    pub fn lock(self: &Arc<Self>, upload: VideoId) -> Option<UploadLock> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(upload);
        taken.then(|| UploadLock { locks: Arc::clone(self), upload })
    }
}

/// See [`UploadLocks::lock`].
pub struct UploadLock {
    locks: Arc<UploadLocks>,
    upload: VideoId,
}

impl Drop for UploadLock {
    fn drop(&mut self) {
        self.locks.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.upload);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_has_one_writer() {
        let locks = Arc::new(UploadLocks::default());
        let upload = VideoId::new();
        let first = locks.lock(upload);
        assert!(first.is_some());
        assert!(locks.lock(upload).is_none());
        assert!(locks.lock(VideoId::new()).is_some());
        drop(first);
        assert!(locks.lock(upload).is_some());
    }
}
