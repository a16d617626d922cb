//! What every handler shares.

use std::path::PathBuf;
use std::sync::Arc;

use actors::Node;
use actors::ephemeral::{EphemeralStore, MemoryStore, RedisStore};
use anyhow::Context;
use entities::Database;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::watch;

use super::auth::api_key::KeyUse;
use super::auth::hashing::Hashing;
use super::auth::issuer::Issuers;
use super::auth::network::NetworkNames;
use super::auth::refresh::RefreshTokens;
use super::auth::secret;
use super::auth::signature::LinkSigner;
use super::auth::throttle::LoginThrottle;
use super::auth::ticket::{TICKET_LIFE, Tickets};
use super::auth::token::AccessTokens;
use super::extract::PrincipalCache;
use super::forwarding::Forwarding;
use super::rates::Rates;
use super::sockets::Sockets;
use super::upload_locks::UploadLocks;

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
    /// Clients and public addresses behind proxies.
    pub forwarding: Forwarding,
    /// How fast requests come.
    pub rates: Rates,
    /// Open WebSockets.
    pub sockets: Sockets,
    /// WebSocket tickets not used yet.
    pub tickets: Tickets,
    /// Failed logins.
    pub throttle: LoginThrottle,
    /// Hashes and checks passwords.
    pub hashing: Hashing,
    /// Names the networks that users log in from.
    pub networks: NetworkNames,
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
        let store = || -> Arc<dyn EphemeralStore> {
            match &node.redis {
                Some(redis) => Arc::new(RedisStore::new(redis.clone())),
                None => Arc::new(MemoryStore::default()),
            }
        };
        let ephemeral = store();
        Ok(Self {
            tokens: AccessTokens::new(&secret, previous, i64::from(auth.access_minutes) * 60),
            issuers: Issuers::new(&auth.issuers).context("preparing the issuers of tokens")?,
            refresh: RefreshTokens::new(&secret, previous, auth.refresh_days),
            links: LinkSigner::new(&secret, previous),
            key_use: KeyUse::default(),
            principals: PrincipalCache::default(),
            forwarding: Forwarding::new(&node.settings().server),
            rates: Rates::new(Arc::clone(&ephemeral), &node.settings().server),
            sockets: Sockets::default(),
            tickets: Tickets::new(TICKET_LIFE, ephemeral),
            // A store of its own: requests from many addresses push no failed logins out of memory.
            throttle: LoginThrottle::new(store()),
            hashing: Hashing::default(),
            networks: NetworkNames::new(&secret),
            uploads_dir: data_dir.join("uploads"),
            writing: Arc::default(),
            db: node.database().clone(),
            node,
            metrics,
            stopping,
        })
    }
}
