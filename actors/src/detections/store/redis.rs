//! Ready answers in a Redis that the nodes share.

use std::sync::Arc;
use std::time::Duration;

use entities::Subject;
use futures_util::future::{BoxFuture, FutureExt};
use sha2::{Digest, Sha256};

use super::{CachedDetections, DetectionStore, Key};
use crate::checksum::hex;
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

/// `touchline:TENANT:detections:SUBJECT:VERSION:FILTERS`
fn name_of(key: &Key, version: i64) -> String {
    let (kind, id) = match key.subject {
        Subject::Video(id) => ("video", id.uuid()),
        Subject::Export(id) => ("export", id.uuid()),
    };
    // A model's name is what a reader asked for: of any length, with any characters.
    let model = key.model.as_ref().map_or_else(|| "any".to_owned(), |model| hex(&Sha256::digest(model)[..16]));
    redis_connection::key(key.tenant, &format!("detections:{kind}:{id}:{version}:{model}:{}", key.confidence))
}

impl DetectionStore for RedisDetections {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn get<'a>(&'a self, key: &'a Key, version: i64) -> BoxFuture<'a, Option<Arc<CachedDetections>>> {
        async move {
            let body: Option<Vec<u8>> = self.0.query(redis::cmd("GET").arg(name_of(key, version))).await.ok()?;
            body.map(|body| Arc::new(CachedDetections::new(body.into())))
        }
        .boxed()
    }

    fn put<'a>(&'a self, key: &'a Key, version: i64, answer: &'a Arc<CachedDetections>) -> BoxFuture<'a, ()> {
        async move {
            if answer.body.len() <= LONGEST {
                let mut set = redis::cmd("SET");
                set.arg(name_of(key, version)).arg(&answer.body[..]).arg("EX").arg(KEPT.as_secs());
                // Who finds nothing asks the database.
                let _ = self.0.query::<()>(&set).await;
            }
        }
        .boxed()
    }
}
