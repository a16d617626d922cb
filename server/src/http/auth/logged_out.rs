//! Access tokens that were logged out, at every node: each remembers all of them, so that no request asks Redis.

use actors::redis_connection::{PubSubEvent, RedisConnection, common_key};
use chrono::Utc;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Receiver;
use uuid::Uuid;

use super::token::{AccessTokens, Claims};

/// Where nodes tell each other of tokens, and the key of a set of those that have not expired.
const TOPIC: &str = "logged-out";
/// How long the set outlives its last member's arrival, in seconds: a day, the longest life of an access token.
const SET_LIFE: u64 = 24 * 60 * 60;

#[derive(Serialize, Deserialize)]
struct LoggedOut {
    jti: Uuid,
    exp: i64,
}

/// Tells the other nodes of a token that was logged out here.
pub async fn tell(redis: &RedisConnection, claims: &Claims) {
    let token = LoggedOut { jti: claims.jti, exp: claims.exp };
    let body = serde_json::to_vec(&token).expect("an id and a number serialise");
    // Who does not hear it now is given it when Redis is back.
    let _ = redis.publish_to_all(TOPIC, &body).await;
    add(redis, &[(token.jti, token.exp)]).await;
}

/// Listens to what is `heard` of other nodes' tokens for ever, and evens out what was missed whenever the connection comes up.
pub async fn follow(redis: RedisConnection, tokens: AccessTokens) {
    let mut heard: Receiver<PubSubEvent> = redis.subscribe(TOPIC);
    while let Some(heard) = heard.recv().await {
        match heard {
            PubSubEvent::Reconnected => even_out(&redis, &tokens).await,
            PubSubEvent::Message { body, .. } => match serde_json::from_slice::<LoggedOut>(&body) {
                Ok(token) => tokens.remember(token.jti, token.exp),
                Err(error) => tracing::warn!(%error, "another node logged a token out in a way that is not understood"),
            },
        }
    }
}

/// Takes what the others know, and gives what they may have missed.
async fn even_out(redis: &RedisConnection, tokens: &AccessTokens) {
    let mut read = redis::cmd("ZRANGE");
    read.arg(common_key(TOPIC)).arg(Utc::now().timestamp() - 60).arg("+inf").arg("BYSCORE").arg("WITHSCORES");
    let own = tokens.logged_out();
    let known: Vec<(String, i64)> = redis.query(&read).await.unwrap_or_default();
    let known = known.into_iter().filter_map(|(jti, exp)| Some((jti.parse::<Uuid>().ok()?, exp)));
    known.for_each(|(jti, exp)| tokens.remember(jti, exp));
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
