//! Ready answers in this process, bounded by weight.

use std::sync::Arc;
use std::time::{Duration, Instant};

use entities::Subject;
use futures_util::future::{BoxFuture, FutureExt, ready};
use moka::sync::Cache;

use super::{Answers, CachedDetections, Key};

/// Bytes of ready answers held in memory.
const HELD_BYTES: u64 = 64 << 20;

/// What the place is called in the metrics.
pub const MEMORY: &str = "memory";

/// See the [module](self).
pub struct MemoryDetections(Cache<Key, Held>);

#[derive(Clone)]
struct Held {
    answer: Arc<CachedDetections>,
    version: i64,
    /// When the version was last asked for and was the newest.
    right_at: Instant,
    /// The connection's connection at that time; None while it was down.
    epoch: Option<u64>,
}

impl Default for MemoryDetections {
    fn default() -> Self {
        let weigh = |_: &Key, held: &Held| u32::try_from(held.answer.body.len()).unwrap_or(u32::MAX);
        let held = Cache::builder()
            .max_capacity(HELD_BYTES)
            .weigher(weigh)
            // Needed to drop every filter's answer of one subject at once.
            .support_invalidation_closures()
            .build();
        Self(held)
    }
}

impl MemoryDetections {
    /// The answer to a key whatever its version, as nothing changes unheard in this deployment.
    pub fn any(&self, key: &Key) -> Option<Arc<CachedDetections>> {
        self.0.get(key).map(|held| held.answer)
    }

    /// The answer to a key if it was right not longer ago than `within`, and every change since was heard on the same
    /// connection.
    pub fn recent(&self, key: &Key, epoch: u64, within: Duration) -> Option<Arc<CachedDetections>> {
        let held = self.0.get(key)?;
        (held.epoch == Some(epoch) && held.right_at.elapsed() < within).then_some(held.answer)
    }

    /// Holds an answer whose version was asked for at `right_at`, unless a newer one is held: the first to ask may
    /// be answered last.
    pub fn hold(&self, key: Key, version: i64, answer: Arc<CachedDetections>, right_at: Instant, epoch: Option<u64>) {
        let new = Held { answer, version, right_at, epoch };
        self.0.entry(key).and_upsert_with(|held| match held.map(moka::Entry::into_value) {
            Some(held) if (held.version, held.right_at) > (new.version, new.right_at) => held,
            _ => new,
        });
    }

    /// Forgets what is held of a subject.
    pub fn forget(&self, subject: Subject) {
        if let Err(error) = self.0.invalidate_entries_if(move |key, _| key.subject == subject) {
            tracing::error!(%error, "forgetting detections one by one failed; forgetting all");
            self.0.invalidate_all();
        }
    }
}

impl Answers for MemoryDetections {
    fn name(&self) -> &'static str {
        MEMORY
    }

    fn get<'a>(&'a self, key: &'a Key, version: i64) -> BoxFuture<'a, Option<Arc<CachedDetections>>> {
        let held = self.0.get(key).filter(|held| held.version == version);
        ready(held.map(|held| held.answer)).boxed()
    }

    fn put<'a>(&'a self, key: &'a Key, version: i64, answer: &'a Arc<CachedDetections>) -> BoxFuture<'a, ()> {
        self.hold(key.clone(), version, Arc::clone(answer), Instant::now(), None);
        ready(()).boxed()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use entities::{TenantId, VideoId};

    use super::*;

    const EPOCH: u64 = 7;

    fn answer(text: &'static str) -> Arc<CachedDetections> {
        Arc::new(CachedDetections::new(Bytes::from_static(text.as_bytes())))
    }

    fn key() -> Key {
        Key { tenant: TenantId::new(), subject: Subject::Video(VideoId::new()), model: None, confidence: 0 }
    }

    #[test]
    fn a_late_answer_of_an_older_version_is_not_held() {
        let (memory, key, asked) = (MemoryDetections::default(), key(), Instant::now());
        memory.hold(key.clone(), 2, answer("new"), asked, Some(EPOCH));
        memory.hold(key.clone(), 1, answer("old"), Instant::now(), Some(EPOCH));
        assert_eq!(memory.recent(&key, EPOCH, Duration::from_secs(60)), Some(answer("new")));
        memory.hold(key.clone(), 3, answer("newer"), asked, Some(EPOCH));
        assert_eq!(memory.any(&key), Some(answer("newer")));
    }

    #[test]
    fn an_answer_is_as_old_as_the_question() {
        let (memory, key) = (MemoryDetections::default(), key());
        let long_ago = Instant::now().checked_sub(Duration::from_secs(2)).expect("the machine has been on for longer");
        memory.hold(key.clone(), 1, answer("old"), long_ago, Some(EPOCH));
        assert_eq!(memory.recent(&key, EPOCH, Duration::from_secs(1)), None);
        memory.hold(key.clone(), 1, answer("old"), Instant::now(), Some(EPOCH));
        assert_eq!(memory.recent(&key, EPOCH + 1, Duration::from_secs(60)), None, "of another connection");
        assert_eq!(memory.recent(&key, EPOCH, Duration::from_secs(60)), Some(answer("old")));
    }
}
