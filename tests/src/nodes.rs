//! Two nodes of one deployment: one PostgreSQL, one Redis of their own, which may go, and one folder of media.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use services::Redis;
use tempfile::TempDir;

use crate::server::Server;

/// See the [module](self).
pub struct Nodes {
    pub here: Server,
    pub there: Server,
    pub redis: Redis,
    _media: TempDir,
}

/// How long a node may take to see that Redis went or came.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

impl Nodes {
    /// Starts both, with the same `variables`.
    pub async fn start(variables: &[(&str, &str)]) -> Result<Self> {
        let (redis, media) = (Redis::start(), tempfile::tempdir()?);
        let (database, redis_url) = (services::fresh_database(), redis.url());
        let storage = format!("file://{}", media.path().display());
        let mut all = vec![
            ("TOUCHLINE__DATABASE__URL", database.as_str()),
            ("TOUCHLINE__REDIS__URL", &redis_url),
            ("TOUCHLINE__AUTH__SECRET", "a secret that all nodes of a test share"),
            ("TOUCHLINE__STORAGE__URL", &storage),
        ];
        all.extend(variables);
        let (here, there) = (Server::start(&all).await?, Server::start(&all).await?);
        let nodes = Self { here, there, redis, _media: media };
        nodes.redis_is(true).await?;
        Ok(nodes)
    }

    /// Waits until both nodes say that Redis is there, or is not.
    pub async fn redis_is(&self, there: bool) -> Result<()> {
        redis_is(&self.here, there).await?;
        redis_is(&self.there, there).await
    }
}

/// Waits until `/readyz` of a node, which stays 200, lists `redis` as missing, or does not.
pub async fn redis_is(node: &Server, there: bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while degraded(node).await?.iter().any(|name| name == "redis") == there {
        ensure!(Instant::now() < deadline, "Redis is there: {there}, and /readyz does not say so");
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

async fn degraded(node: &Server) -> Result<Vec<Value>> {
    let answer = reqwest::get(format!("{}/readyz", node.url())).await?;
    ensure!(answer.status() == 200, "/readyz answers {}", answer.status());
    let readiness: Value = answer.json().await?;
    Ok(readiness["degraded"].as_array().context("degraded is a list")?.clone())
}
