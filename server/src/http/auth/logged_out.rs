//! Access tokens that were logged out, at every node: each holds all of them, so that no request queries Redis.

use actors::redis_connection::{PubSubEvent, RedisConnection, common_key};
use chrono::Utc;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Receiver;
use uuid::Uuid;

use super::token::{AccessTokens, Claims};

/// The topic on which nodes publish tokens, and the key of the set of those that have not expired.
const TOPIC: &str = "logged-out";
/// How long the set outlives its last member's arrival, in seconds: a day, the longest life of an access token.
const SET_LIFE: u64 = 24 * 60 * 60;

#[derive(Serialize, Deserialize)]
struct LoggedOut {
    jti: Uuid,
    exp: i64,
}

/// Publishes a token that was logged out here to the other nodes.
pub async fn publish(redis: &RedisConnection, claims: &Claims) {
    let token = LoggedOut { jti: claims.jti, exp: claims.exp };
    let body = serde_json::to_vec(&token).expect("an id and a number serialise");
    // A node that misses it receives it when Redis is back.
    let _ = redis.publish_to_all(TOPIC, &body).await;
    add(redis, &[(token.jti, token.exp)]).await;
}

/// Receives other nodes' tokens for ever, and exchanges what was missed whenever the connection comes up.
pub async fn follow(redis: RedisConnection, tokens: AccessTokens) {
    let mut events: Receiver<PubSubEvent> = redis.subscribe(TOPIC);
    while let Some(event) = events.recv().await {
        match event {
            PubSubEvent::Reconnected => even_out(&redis, &tokens).await,
            PubSubEvent::Message { body, .. } => match serde_json::from_slice::<LoggedOut>(&body) {
                Ok(token) => tokens.remember(token.jti, token.exp),
                Err(error) => tracing::warn!(%error, "another node logged a token out in a way that is not understood"),
            },
        }
    }
}

/// Reads the tokens of the other nodes, and publishes what they may have missed.
async fn even_out(redis: &RedisConnection, tokens: &AccessTokens) {
    let mut read = redis::cmd("ZRANGE");
    read.arg(common_key(TOPIC)).arg(Utc::now().timestamp() - 60).arg("+inf").arg("BYSCORE").arg("WITHSCORES");
    let own = tokens.logged_out();
    let stored: Vec<(String, i64)> = redis.query(&read).await.unwrap_or_default();
    let stored = stored.into_iter().filter_map(|(jti, exp)| Some((jti.parse::<Uuid>().ok()?, exp)));
    stored.for_each(|(jti, exp)| tokens.remember(jti, exp));
    add(redis, &own).await;
    for (jti, exp) in own {
        let body = serde_json::to_vec(&LoggedOut { jti, exp }).expect("an id and a number serialise");
        let _ = redis.publish_to_all(TOPIC, &body).await;
    }
}

async fn add(redis: &RedisConnection, tokens: &[(Uuid, i64)]) {
    if tokens.is_empty() {
        return;
    }
    let key = common_key(TOPIC);
    let mut add = redis::cmd("ZADD");
    add.arg(&key);
    for (jti, exp) in tokens {
        add.arg(exp).arg(jti.to_string());
    }
    let _ = redis.query::<()>(&add).await;
    let _ = redis.query::<()>(redis::cmd("EXPIRE").arg(&key).arg(SET_LIFE)).await;
    let expired = Utc::now().timestamp() - 60;
    let _ = redis.query::<()>(redis::cmd("ZREMRANGEBYSCORE").arg(&key).arg("-inf").arg(expired)).await;
}
