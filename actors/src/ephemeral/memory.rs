//! Values with a time to live, in this process.

use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt, ready};
use moka::Expiry;
use moka::ops::compute::Op;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::{EphemeralStore, Rate, RateDecision};

/// Entries of one kind at most; beyond it the one that was used longest ago goes first.
const MAX_ENTRIES: u64 = 10_000;

/// See the [module](self). Its rates are a token bucket each (GCRA), kept as the one moment at which it is full again:
/// the crate `governor` has one rate for all keys, and here each tenant has its own, which changes while it is used.
pub struct MemoryStore {
    values: Cache<String, Entry<Vec<u8>>>,
    /// A bucket ends when it is full: one that is not there is full.
    buckets: Cache<String, Entry<()>>,
}

#[derive(Clone)]
struct Entry<T> {
    value: T,
    until: Instant,
}

/// Each entry expires at its own `until`, which an update may move.
struct Until;

impl<T> Expiry<String, Entry<T>> for Until {
    fn expire_after_create(&self, _: &String, entry: &Entry<T>, created: Instant) -> Option<Duration> {
        Some(entry.until.saturating_duration_since(created))
    }

    fn expire_after_update(
        &self,
        _: &String,
        entry: &Entry<T>,
        updated: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.until.saturating_duration_since(updated))
    }
}

/// Least recently used, not moka's default: that one may refuse a new key to keep frequent ones, and a ticket that was
/// handed out has to be there.
fn cache<T: Clone + Send + Sync + 'static>() -> Cache<String, Entry<T>> {
    let builder = Cache::builder().max_capacity(MAX_ENTRIES).eviction_policy(EvictionPolicy::lru());
    builder.expire_after(Until).build()
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { values: cache(), buckets: cache() }
    }
}

impl MemoryStore {
    /// [`EphemeralStore::put`], at once.
    pub fn keep(&self, key: &str, value: Vec<u8>, life: Duration) {
        self.values.insert(key.to_owned(), Entry { value, until: Instant::now() + life });
    }

    /// [`EphemeralStore::take`], at once.
    pub fn take_now(&self, key: &str) -> Option<Vec<u8>> {
        let entry = self.values.remove(key)?;
        // Unlike reading, removing finds an entry that has expired and is still there.
        (entry.until > Instant::now()).then_some(entry.value)
    }

    /// [`EphemeralStore::spend`], at once.
    pub fn spend_now(&self, key: &str, rate: Rate) -> RateDecision {
        let now = Instant::now();
        let mut decision = RateDecision::Allowed { remaining: 0 };
        self.buckets.entry_by_ref(key).and_compute_with(|bucket| {
            let full_at = bucket.map(|bucket| bucket.into_value().until);
            match spend(full_at, rate, now) {
                Ok((full_at, remaining)) => {
                    decision = RateDecision::Allowed { remaining };
                    Op::Put(Entry { value: (), until: full_at })
                }
                Err(retry_after) => {
                    decision = RateDecision::Denied { retry_after };
                    Op::Nop
                }
            }
        });
        decision
    }

    /// [`EphemeralStore::give_back`], at once.
    pub fn give_back_now(&self, key: &str, rate: Rate) {
        let now = Instant::now();
        let one = Duration::from_secs_f64(1.0 / rate.per_second);
        self.buckets.entry_by_ref(key).and_compute_with(|bucket| {
            let full_at = bucket.and_then(|bucket| bucket.into_value().until.checked_sub(one));
            match full_at.filter(|full_at| *full_at > now) {
                Some(until) => Op::Put(Entry { value: (), until }),
                None => Op::Remove,
            }
        });
    }

    /// [`EphemeralStore::fill`], at once.
    pub fn fill_now(&self, key: &str) {
        self.buckets.invalidate(key);
    }
}

/// Takes one token of a bucket that is full at `full_at` (none: it is full). Returns when it will be full again and how
/// many tokens are left, or how long to wait for one.
fn spend(full_at: Option<Instant>, rate: Rate, now: Instant) -> Result<(Instant, u64), Duration> {
    let one = Duration::from_secs_f64(1.0 / rate.per_second);
    let whole = one.mul_f64(rate.burst.max(1.0));
    let full_at = full_at.map_or(now, |full_at| full_at.max(now)) + one;
    let missing = full_at - now;
    if let Some(retry_after) = missing.checked_sub(whole).filter(|wait| !wait.is_zero()) {
        return Err(retry_after);
    }
    let left = (whole - missing).as_secs_f64() / one.as_secs_f64();
    // Rounded down, but not below by the last bits.
    Ok((full_at, (left + 1e-6) as u64))
}

impl EphemeralStore for MemoryStore {
    fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, life: Duration) -> BoxFuture<'a, ()> {
        self.keep(key, value, life);
        ready(()).boxed()
    }

    fn take<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Option<Vec<u8>>> {
        ready(self.take_now(key)).boxed()
    }

    fn spend<'a>(&'a self, key: &'a str, rate: Rate) -> BoxFuture<'a, RateDecision> {
        ready(self.spend_now(key, rate)).boxed()
    }
    fn give_back<'a>(&'a self, key: &'a str, rate: Rate) -> BoxFuture<'a, ()> {
        self.give_back_now(key, rate);
        ready(()).boxed()
    }

    fn fill<'a>(&'a self, key: &'a str) -> BoxFuture<'a, ()> {
        self.fill_now(key);
        ready(()).boxed()
    }
}
