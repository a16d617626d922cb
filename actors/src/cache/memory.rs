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
pub struct MemoryAnswers(Cache<Key, Held>);

#[derive(Clone)]
struct Held {
    answer: Arc<CachedDetections>,
    version: i64,
    /// When the version was last known to be the newest.
    right_at: Instant,
    /// The link's connection at that time; None while it was down.
    epoch: Option<u64>,
}

impl Default for MemoryAnswers {
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

impl MemoryAnswers {
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

    /// Holds an answer that is right now.
    pub fn hold(&self, key: Key, version: i64, answer: Arc<CachedDetections>, epoch: Option<u64>) {
        self.0.insert(key, Held { answer, version, right_at: Instant::now(), epoch });
    }

    /// Forgets what is held of a subject.
    pub fn forget(&self, subject: Subject) {
        if let Err(error) = self.0.invalidate_entries_if(move |key, _| key.subject == subject) {
            tracing::error!(%error, "forgetting detections one by one failed; forgetting all");
            self.0.invalidate_all();
        }
    }
}

impl Answers for MemoryAnswers {
    fn name(&self) -> &'static str {
        MEMORY
    }

    fn get<'a>(&'a self, key: &'a Key, version: i64) -> BoxFuture<'a, Option<Arc<CachedDetections>>> {
        let held = self.0.get(key).filter(|held| held.version == version);
        ready(held.map(|held| held.answer)).boxed()
    }

    fn put<'a>(&'a self, key: &'a Key, version: i64, answer: &'a Arc<CachedDetections>) -> BoxFuture<'a, ()> {
        self.hold(key.clone(), version, Arc::clone(answer), None);
        ready(()).boxed()
    }
}
