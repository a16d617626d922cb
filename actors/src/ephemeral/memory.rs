//! What lives for seconds, in this process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt, ready};

use super::{EphemeralStore, Rate, RateDecision};

/// Entries of one kind at most; beyond it the one that ends first goes first.
const MOST: usize = 10_000;

/// See the [module](self). Its rates are a token bucket each (GCRA), kept as the one moment at which it is full again:
/// the crate `governor` has one rate for all keys, and here each tenant has its own, which changes while it is used.
#[derive(Default)]
pub struct MemoryStore {
    values: Mutex<HashMap<String, Entry<Vec<u8>>>>,
    counts: Mutex<HashMap<String, Entry<u64>>>,
    /// A bucket ends when it is full: one that is not there is full.
    buckets: Mutex<HashMap<String, Entry<()>>>,
}

struct Entry<T> {
    value: T,
    until: Instant,
}

/// Makes room for one more.
fn tidy<T>(entries: &mut HashMap<String, Entry<T>>) {
    if entries.len() < MOST {
        return;
    }
    let now = Instant::now();
    entries.retain(|_, entry| entry.until > now);
    if entries.len() >= MOST {
        let first = entries.iter().min_by_key(|(_, entry)| entry.until).map(|(key, _)| key.clone());
        first.map(|key| entries.remove(&key));
    }
}

impl MemoryStore {
    /// [`EphemeralStore::put`], at once.
    pub fn keep(&self, key: &str, value: Vec<u8>, life: Duration) {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        tidy(&mut values);
        values.insert(key.to_owned(), Entry { value, until: Instant::now() + life });
    }

    /// [`EphemeralStore::take`], at once.
    pub fn take_now(&self, key: &str) -> Option<Vec<u8>> {
        let entry = self.values.lock().unwrap_or_else(PoisonError::into_inner).remove(key)?;
        (entry.until > Instant::now()).then_some(entry.value)
    }

    /// [`EphemeralStore::count`], at once.
    pub fn count_now(&self, key: &str, life: Duration) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        tidy(&mut counts);
        let now = Instant::now();
        let entry = counts.entry(key.to_owned()).or_insert(Entry { value: 0, until: now });
        entry.value = if entry.until > now { entry.value + 1 } else { 1 };
        entry.until = now + life;
    }

    /// [`EphemeralStore::counted`], at once.
    pub fn counted_now(&self, key: &str) -> Option<(u64, Duration)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = counts.get(key)?;
        let left = entry.until.checked_duration_since(Instant::now())?;
        Some((entry.value, left))
    }

    /// [`EphemeralStore::forget`], at once.
    pub fn forget_now(&self, key: &str) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// [`EphemeralStore::spend`], at once.
    pub fn spend_now(&self, key: &str, rate: Rate) -> RateDecision {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        tidy(&mut buckets);
        let now = Instant::now();
        let one = Duration::from_secs_f64(1.0 / rate.per_second);
        let whole = one.mul_f64(rate.burst.max(1.0));
        let full = buckets.get(key).map_or(now, |bucket| bucket.until.max(now)) + one;
        let missing = full - now;
        if let Some(retry_after) = missing.checked_sub(whole).filter(|wait| !wait.is_zero()) {
            return RateDecision::Denied { retry_after };
        }
        buckets.insert(key.to_owned(), Entry { value: (), until: full });
        let left = (whole - missing).as_secs_f64() / one.as_secs_f64();
        // Rounded down, but not below by the last bits.
        RateDecision::Allowed { remaining: (left + 1e-6) as u64 }
    }
}

impl EphemeralStore for MemoryStore {
    fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, life: Duration) -> BoxFuture<'a, ()> {
        self.keep(key, value, life);
        ready(()).boxed()
    }

    fn take<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Option<Vec<u8>>> {
        ready(self.take_now(key)).boxed()
    }

    fn count<'a>(&'a self, key: &'a str, life: Duration) -> BoxFuture<'a, ()> {
        self.count_now(key, life);
        ready(()).boxed()
    }

    fn counted<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Option<(u64, Duration)>> {
        ready(self.counted_now(key)).boxed()
    }

    fn forget<'a>(&'a self, key: &'a str) -> BoxFuture<'a, ()> {
        self.forget_now(key);
        ready(()).boxed()
    }

    fn spend<'a>(&'a self, key: &'a str, rate: Rate) -> BoxFuture<'a, RateDecision> {
        ready(self.spend_now(key, rate)).boxed()
    }
}
