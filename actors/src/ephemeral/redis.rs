//! Values with a time to live, in a Redis that the nodes share; this process keeps its own part for the time without.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};

use super::{EphemeralStore, MemoryStore, Rate, RateDecision};
use crate::redis_connection::{RedisConnection, common_key};

/// See the [module](self). Keys are given without the prefix of [`crate::redis_connection`].
pub struct RedisStore {
    redis: RedisConnection,
    own: MemoryStore,
}

/// The connection of a value that Redis did not take.
const NEVER_STORED: u64 = u64::MAX;

/// The bucket of [`MemoryStore`] by the clock of Redis, in microseconds. Answers what is left, or minus the wait.
const SPEND: &str = "
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local one, whole = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + one
if full - now > whole + 1 then return -math.ceil(full - now - whole) end
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 1)
return math.floor((whole - (full - now)) / one + 0.000001)
";

/// The opposite of [`SPEND`]: the bucket is full that much earlier.
const GIVE_BACK: &str = "
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local full = tonumber(redis.call('GET', KEYS[1]) or 0) - tonumber(ARGV[1])
if full <= now then redis.call('DEL', KEYS[1]) return end
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000) + 1)
";

impl RedisStore {
    pub fn new(redis: RedisConnection) -> Self {
        Self { redis, own: MemoryStore::default() }
    }
}

impl EphemeralStore for RedisStore {
    fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, life: Duration) -> BoxFuture<'a, ()> {
        async move {
            let connection = self.redis.connections();
            let mut set = redis::cmd("SET");
            set.arg(common_key(key)).arg(&value).arg("PX").arg(life.as_millis() as u64);
            let stored = self.redis.query::<()>(&set).await;
            let connection = stored.map_or(NEVER_STORED, |()| connection);
            // The connection tells whether Redis may have lost it, and with it who has taken it.
            self.own.keep(key, [&connection.to_be_bytes()[..], &value].concat(), life);
        }
        .boxed()
    }

    fn take<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Option<Vec<u8>>> {
        async move {
            let own = self.own.take_now(key);
            let shared = self.redis.query::<Option<Vec<u8>>>(redis::cmd("GETDEL").arg(common_key(key))).await;
            let own = own.as_deref().and_then(|own| own.split_first_chunk::<8>());
            match (shared, own) {
                (Ok(Some(value)), _) => Some(value),
                // It was taken already, unless Redis was away since it was put there.
                (Ok(None), Some((put, _))) if u64::from_be_bytes(*put) == self.redis.connections() => None,
                (_, own) => own.map(|(_, value)| value.to_vec()),
            }
        }
        .boxed()
    }

    fn spend<'a>(&'a self, key: &'a str, rate: Rate) -> BoxFuture<'a, RateDecision> {
        async move {
            let one = 1e6 / rate.per_second;
            let mut spend = redis::cmd("EVAL");
            spend.arg(SPEND).arg(1).arg(common_key(key)).arg(one).arg(one * rate.burst.max(1.0));
            match self.redis.query::<i64>(&spend).await {
                Ok(left) if left >= 0 => RateDecision::Allowed { remaining: left.unsigned_abs() },
                Ok(wait) => RateDecision::Denied { retry_after: Duration::from_micros(wait.unsigned_abs()) },
                Err(_) => self.own.spend_now(key, rate),
            }
        }
        .boxed()
    }
    fn give_back<'a>(&'a self, key: &'a str, rate: Rate) -> BoxFuture<'a, ()> {
        async move {
            let mut give_back = redis::cmd("EVAL");
            give_back.arg(GIVE_BACK).arg(1).arg(common_key(key)).arg(1e6 / rate.per_second);
            if self.redis.query::<()>(&give_back).await.is_err() {
                self.own.give_back_now(key, rate);
            }
        }
        .boxed()
    }

    fn fill<'a>(&'a self, key: &'a str) -> BoxFuture<'a, ()> {
        async move {
            self.own.fill_now(key);
            let _ = self.redis.query::<()>(redis::cmd("DEL").arg(common_key(key))).await;
        }
        .boxed()
    }
}
