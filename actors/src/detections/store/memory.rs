//! Ready answers in this process, bounded by weight.

use std::sync::Arc;
use std::time::Instant;

use entities::Subject;
use futures_util::future::{BoxFuture, FutureExt, ready};
use moka::sync::Cache;

use super::{CachedDetections, DetectionStore, Key};
use crate::detections::freshness::{Held, Writers};

/// Bytes of ready answers held in memory, with their keys.
const HELD_BYTES: u64 = 64 << 20;
/// Bytes that an entry takes beside its text and its body: the rows of the cache's tables and queues, the allocations'
/// rounding.
const OVERHEAD: usize = 512;

/// What the place is called in the metrics.
pub const MEMORY: &str = "memory";

/// See the [module](self).
pub struct MemoryDetections(Cache<Key, Entry>);

#[derive(Clone)]
struct Entry {
    answer: Arc<CachedDetections>,
    held: Held,
}

impl Default for MemoryDetections {
    fn default() -> Self {
        let held = Cache::builder()
            .max_capacity(HELD_BYTES)
            .weigher(|key, entry: &Entry| weight(key, &entry.answer))
            // Needed to drop every filter's answer of one subject at once.
            .support_invalidation_closures()
            .build();
        Self(held)
    }
}

/// Bytes that an answer takes: small answers to many questions count, too.
fn weight(key: &Key, answer: &CachedDetections) -> u32 {
    let texts = key.model.as_ref().map_or(0, String::len) + answer.etag.len();
    u32::try_from(OVERHEAD + texts + answer.body.len()).unwrap_or(u32::MAX)
}

impl MemoryDetections {
    /// The held answer to a key, if it is right at `now` without asking the database.
    pub fn if_right(&self, key: &Key, writers: Writers, now: Instant) -> Option<Arc<CachedDetections>> {
        self.0.get(key).filter(|entry| entry.held.is_right(writers, now)).map(|entry| entry.answer)
    }

    /// Holds an answer, unless the one that is held outranks it.
    pub fn hold(&self, key: Key, answer: Arc<CachedDetections>, held: Held) {
        self.0.entry(key).and_upsert_with(|kept| match kept.map(moka::Entry::into_value) {
            Some(kept) if kept.held.outranks(&held) => kept,
            _ => Entry { answer, held },
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

impl DetectionStore for MemoryDetections {
    fn name(&self) -> &'static str {
        MEMORY
    }

    fn get<'a>(&'a self, key: &'a Key, version: i64) -> BoxFuture<'a, Option<Arc<CachedDetections>>> {
        let entry = self.0.get(key).filter(|entry| entry.held.version == version);
        ready(entry.map(|entry| entry.answer)).boxed()
    }

    fn put<'a>(&'a self, key: &'a Key, version: i64, answer: &'a Arc<CachedDetections>) -> BoxFuture<'a, ()> {
        self.hold(key.clone(), Arc::clone(answer), Held { version, right_at: Instant::now(), epoch: None });
        ready(()).boxed()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use entities::{TenantId, VideoId};

    use super::*;

    fn answer(text: &'static str) -> Arc<CachedDetections> {
        Arc::new(CachedDetections::new(Bytes::from_static(text.as_bytes())))
    }

    #[test]
    fn an_answer_weighs_its_key_and_its_entry_too() {
        let subject = Subject::Video(VideoId::new());
        let key = Key { tenant: TenantId::new(), subject, model: Some("m".repeat(300)), confidence: 0 };
        let (empty, full) = (answer(""), answer("0123456789"));
        assert!(weight(&key, &empty) as usize >= OVERHEAD + 300, "{}", weight(&key, &empty));
        assert_eq!(weight(&key, &full), weight(&key, &empty) + 10);
    }

    #[test]
    fn a_late_answer_of_an_older_version_is_not_held() {
        let subject = Subject::Video(VideoId::new());
        let key = Key { tenant: TenantId::new(), subject, model: None, confidence: 0 };
        let (memory, at) = (MemoryDetections::default(), Instant::now());
        let of = |version| Held { version, right_at: at, epoch: None };
        let found = |memory: &MemoryDetections| memory.if_right(&key, Writers::ThisProcess, at);
        memory.hold(key.clone(), answer("new"), of(2));
        memory.hold(key.clone(), answer("old"), of(1));
        assert_eq!(found(&memory), Some(answer("new")));
        memory.hold(key.clone(), answer("newer"), of(3));
        assert_eq!(found(&memory), Some(answer("newer")));
        assert_eq!(memory.if_right(&key, Writers::Nodes { epoch: None }, at), None, "the database has to be asked");
        memory.forget(subject);
        assert_eq!(found(&memory), None);
    }
}
