//! The task that connects, listens, and connects again.

use std::sync::PoisonError;
use std::time::Duration;

use entities::TenantId;
use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use redis::{AsyncConnectionConfig, Msg, Value};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{ANSWER_WITHIN, Listener, PREFIX, PubSubEvent, RedisConnection};

/// How long connecting and subscribing may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// How long to wait before connecting again.
const AGAIN: Duration = Duration::from_millis(500);
/// How often an idle connection has to show that it is alive.
const PROOF_EVERY: Duration = Duration::from_secs(1);

struct Connected {
    calls: MultiplexedConnection,
    asking: PubSubSink,
    messages: PubSubStream,
}

/// Keeps the connection up as long as the process lives.
pub(super) async fn keep(redis: RedisConnection) {
    let mut reported = false;
    metrics::gauge!("touchline_redis_up").set(0.0);
    loop {
        match timeout(CONNECT_WITHIN, connect(&redis)).await {
            Ok(Ok(connected)) => {
                reported = false;
                tracing::info!("connected to Redis");
                let why = serve(&redis, connected).await;
                redis.mark_down(redis.connections());
                tracing::warn!(why, "Redis is away; this node goes on with what it knows");
            }
            // Once an absence is enough.
            _ if reported => {}
            Ok(Err(error)) => {
                reported = true;
                tracing::warn!(%error, "Redis cannot be reached; this node goes on with what it knows");
            }
            Err(_) => {
                reported = true;
                tracing::warn!("Redis does not answer; this node goes on with what it knows");
            }
        }
        sleep(AGAIN).await;
    }
}

async fn connect(redis: &RedisConnection) -> redis::RedisResult<Connected> {
    let client = &redis.0.client;
    // Subscribed before the first call: what others say after a call of this node's is heard.
    let (mut asking, messages) = client.get_async_pubsub().await?.split();
    asking.psubscribe(format!("{PREFIX}:*")).await?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_WITHIN))
        .set_response_timeout(Some(ANSWER_WITHIN));
    let mut calls = client.get_multiplexed_async_connection_with_config(&config).await?;
    redis::cmd("PING").query_async::<()>(&mut calls).await?;
    Ok(Connected { calls, asking, messages })
}

/// Passes messages on until the connection shows that it is no more; why it counts as gone.
async fn serve(redis: &RedisConnection, connected: Connected) -> &'static str {
    let Connected { mut calls, mut asking, mut messages } = connected;
    for listener in raise(redis, calls.clone()) {
        // A listener that has gone needs no news.
        let _ = listener.sink.send(PubSubEvent::Reconnected).await;
    }
    let mut state = redis.0.state.subscribe();
    let mut proofs = interval(PROOF_EVERY);
    proofs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = messages.next() => match message {
                Some(message) => pass_on(redis, &message).await,
                None => return "its messages ended",
            },
            _ = proofs.tick() => {
                if redis::cmd("PING").query_async::<()>(&mut calls).await.is_err() {
                    return "it does not answer";
                }
                if !matches!(timeout(ANSWER_WITHIN, asking.ping::<Value>()).await, Ok(Ok(_))) {
                    return "its messages stopped";
                }
            }
            () = async { drop(state.wait_for(|state| state.connection.is_none()).await) } => return "a call got no answer",
        }
    }
}

/// The connection is up; who is to be reported.
fn raise(redis: &RedisConnection, connection: MultiplexedConnection) -> Vec<Listener> {
    let listeners = redis.0.listeners.lock().unwrap_or_else(PoisonError::into_inner);
    redis.0.state.send_modify(|state| {
        state.epoch += 1;
        state.connection = Some(connection);
    });
    metrics::gauge!("touchline_redis_up").set(1.0);
    listeners.clone()
}

async fn pass_on(redis: &RedisConnection, message: &Msg) {
    let Some((author, body)) = message.get_payload_bytes().split_first_chunk::<16>() else { return };
    if author == redis.0.node.as_bytes() {
        return;
    }
    let Some((tenant, topic)) = read_topic(message.get_channel_name()) else { return };
    let listeners = redis.0.listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for listener in listeners.iter().filter(|listener| listener.topic == topic) {
        let _ = listener.sink.send(PubSubEvent::Message { tenant, body: body.to_vec() }).await;
    }
}

/// `touchline:TENANT:TOPIC` or `touchline:TOPIC`
fn read_topic(channel: &str) -> Option<(Option<TenantId>, &str)> {
    let rest = channel.strip_prefix(PREFIX)?.strip_prefix(':')?;
    match rest.split_once(':') {
        Some((tenant, topic)) => Some((Some(tenant.parse().ok()?), topic)),
        None => Some((None, rest)),
    }
}
