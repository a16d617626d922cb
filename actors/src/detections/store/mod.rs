//! Where ready answers about detections are kept: in this process, and in a Redis that the nodes share.
//!
//! Each answer is kept with the version that its subject's detections had in the database before they were read
//! ([`entities::detections::version`]), and found only under that version. So no answer can be taken for a newer one,
//! whichever node kept it and whatever became of Redis in between.

mod memory;
mod redis;

use std::sync::Arc;

use bytes::Bytes;
use entities::{Subject, TenantId};
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};

pub use self::memory::{MEMORY, MemoryDetections};
pub use self::redis::RedisDetections;
use crate::checksum::hex;

/// A ready answer.
#[derive(Debug, PartialEq, Eq)]
pub struct CachedDetections {
    /// Strong entity tag, quoted, over the body: the filters are part of it.
    pub etag: String,
    /// The JSON document.
    pub body: Bytes,
}

impl CachedDetections {
    /// An answer and its entity tag.
    pub fn new(body: Bytes) -> Self {
        Self { etag: format!("\"{}\"", hex(&Sha256::digest(&body)[..16])), body }
    }
}

/// What a reader asks for; also the key under which the answer is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    pub tenant: TenantId,
    pub subject: Subject,
    pub model: Option<String>,
    /// Confidence in hundredths, as the answer is filtered: any of a million would have an answer of its own, and
    /// floats have no equality to hash by.
    pub confidence: u32,
}

/// Keeps ready answers. Any may be gone at any time.
pub trait DetectionStore: Send + Sync {
    /// What the place is called in the metrics.
    fn name(&self) -> &'static str;

    /// The answer of that version of the subject's detections.
    fn get<'a>(&'a self, key: &'a Key, version: i64) -> BoxFuture<'a, Option<Arc<CachedDetections>>>;

    /// Keeps an answer that was read when the subject's detections had that version.
    fn put<'a>(&'a self, key: &'a Key, version: i64, answer: &'a Arc<CachedDetections>) -> BoxFuture<'a, ()>;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use entities::VideoId;

    use super::*;
    use crate::detections::cache::Change;
    use crate::redis_connection::RedisConnection;

    async fn keeps_by_version(answers: &dyn DetectionStore) {
        let subject = Subject::Video(VideoId::new());
        let key = Key { tenant: TenantId::new(), subject, model: None, confidence: 50 };
        assert_eq!(answers.get(&key, 1).await, None);
        let old = Arc::new(CachedDetections::new(Bytes::from_static(b"{}")));
        answers.put(&key, 1, &old).await;
        assert_eq!(answers.get(&key, 1).await, Some(Arc::clone(&old)));
        assert_eq!(answers.get(&key, 2).await, None, "an older answer was taken for a newer one");
        let others = [
            Key { tenant: TenantId::new(), ..key.clone() },
            Key { subject: Subject::Video(VideoId::new()), ..key.clone() },
            Key { model: Some("m".to_owned()), ..key.clone() },
            Key { confidence: 1, ..key.clone() },
        ];
        for other in others {
            assert_eq!(answers.get(&other, 1).await, None, "{other:?}");
        }
        let new = Arc::new(CachedDetections::new(Bytes::from_static(b"[]")));
        answers.put(&key, 2, &new).await;
        assert_eq!(answers.get(&key, 2).await, Some(new));
    }

    #[actix::test]
    async fn memory_keeps_by_version() {
        keeps_by_version(&MemoryDetections::default()).await;
    }

    #[actix::test]
    async fn redis_keeps_by_version() {
        let redis = RedisConnection::start(&services::fresh_redis()).unwrap();
        assert!(redis.wait_up(Duration::from_secs(30)).await);
        keeps_by_version(&RedisDetections::new(redis)).await;
    }

    #[actix::test]
    async fn redis_forgets_a_subject_and_keeps_late_answers_about_one_that_is_gone_out() {
        let redis = RedisConnection::start(&services::fresh_redis()).unwrap();
        assert!(redis.wait_up(Duration::from_secs(30)).await);
        let answers = RedisDetections::new(redis);
        let (tenant, subject) = (TenantId::new(), Subject::Video(VideoId::new()));
        let key = |confidence| Key { tenant, subject, model: None, confidence };
        let answer = Arc::new(CachedDetections::new(Bytes::from_static(b"{}")));
        for change in [Change::Changed, Change::Gone] {
            for confidence in [1, 2] {
                answers.put(&key(confidence), 1, &answer).await;
                assert_eq!(answers.get(&key(confidence), 1).await, Some(Arc::clone(&answer)));
            }
            answers.forget(tenant, subject, change).await;
            assert_eq!((answers.get(&key(1), 1).await, answers.get(&key(2), 1).await), (None, None));
        }
        answers.put(&key(1), 1, &answer).await;
        assert_eq!(answers.get(&key(1), 1).await, None);
    }

    #[actix::test]
    async fn a_redis_that_is_away_has_no_answer() {
        let redis = RedisConnection::start("unix:///nowhere").unwrap();
        let answers = RedisDetections::new(redis);
        let subject = Subject::Video(VideoId::new());
        let key = Key { tenant: TenantId::new(), subject, model: None, confidence: 0 };
        answers.put(&key, 1, &Arc::new(CachedDetections::new(Bytes::new()))).await;
        assert_eq!(answers.get(&key, 1).await, None);
    }
}
