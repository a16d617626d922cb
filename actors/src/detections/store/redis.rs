//! Ready answers in a Redis that the nodes share.

use std::sync::Arc;
use std::time::Duration;

use entities::{Subject, TenantId};
use futures_util::future::{BoxFuture, FutureExt};
use sha2::{Digest, Sha256};

use super::{CachedDetections, DetectionStore, Key};
use crate::checksum::hex;
use crate::detections::cache::Change;
use crate::redis_connection::{self, RedisConnection};

/// How long an answer is kept. One of an older version is never asked for again and goes with time.
const KEPT: Duration = Duration::from_secs(600);
/// A longer answer is quicker made anew than fetched.
const LONGEST: usize = 4 << 20;

/// See the [module](self).
pub struct RedisDetections(RedisConnection);

impl RedisDetections {
    pub fn new(redis: RedisConnection) -> Self {
        Self(redis)
    }
}

/// Keeps an answer, unless the subject is gone. The answers of a subject expire together, [`KEPT`] after the first.
const KEEP: &str = "
if redis.call('HEXISTS', KEYS[1], 'gone') == 1 then return end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('TTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
";
/// Forgets the answers of a subject that is gone, and for a while keeps those out that were read before it went.
const FORGET_FOR_GOOD: &str = "
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'gone', 1)
redis.call('EXPIRE', KEYS[1], ARGV[1])
";

/// `touchline:TENANT:detections:SUBJECT`, a hash of all its answers: one command forgets them.
fn name_of(tenant: TenantId, subject: Subject) -> String {
    let kind = match subject {
        Subject::Video(_) => "video",
        Subject::Export(_) => "export",
    };
    redis_connection::key(tenant, &format!("detections:{kind}:{}", subject.uuid()))
}

/// `VERSION:FILTERS`
fn field_of(key: &Key, version: i64) -> String {
    // A model's name is what a reader asked for: of any length, with any characters.
    let model = key.model.as_ref().map_or_else(|| "any".to_owned(), |model| hex(&Sha256::digest(model)[..16]));
    format!("{version}:{model}:{}", key.confidence)
}

impl RedisDetections {
    /// Forgets every answer about a subject. While Redis is away they expire by themselves; their version is not asked
    /// for any more.
    pub async fn forget(&self, tenant: TenantId, subject: Subject, change: Change) {
        let name = name_of(tenant, subject);
        let mut forget = match change {
            Change::Changed => redis::cmd("UNLINK"),
            Change::Gone => {
                let mut eval = redis::cmd("EVAL");
                eval.arg(FORGET_FOR_GOOD).arg(1);
                eval
            }
        };
        forget.arg(name);
        if change == Change::Gone {
            forget.arg(KEPT.as_secs());
        }
        let _ = self.0.query::<()>(&forget).await;
    }
}

impl DetectionStore for RedisDetections {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn get<'a>(&'a self, key: &'a Key, version: i64) -> BoxFuture<'a, Option<Arc<CachedDetections>>> {
        async move {
            let mut get = redis::cmd("HGET");
            get.arg(name_of(key.tenant, key.subject)).arg(field_of(key, version));
            let body: Option<Vec<u8>> = self.0.query(&get).await.ok()?;
            body.map(|body| Arc::new(CachedDetections::new(body.into())))
        }
        .boxed()
    }

    fn put<'a>(&'a self, key: &'a Key, version: i64, answer: &'a Arc<CachedDetections>) -> BoxFuture<'a, ()> {
        async move {
            if answer.body.len() <= LONGEST {
                let mut keep = redis::cmd("EVAL");
                keep.arg(KEEP).arg(1).arg(name_of(key.tenant, key.subject));
                keep.arg(field_of(key, version)).arg(&answer.body[..]).arg(KEPT.as_secs());
                // A reader that finds nothing asks the database.
                let _ = self.0.query::<()>(&keep).await;
            }
        }
        .boxed()
    }
}
