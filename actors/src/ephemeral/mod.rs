//! Values with a time to live that may be lost: tickets and token buckets, of requests and of failed logins. In this process, or in a Redis that
//! the nodes share; while that is unreachable, in this process again.

mod memory;
mod redis;

use std::time::Duration;

use futures_util::future::BoxFuture;

pub use self::memory::MemoryStore;
pub use self::redis::RedisStore;

/// How many of something may come, and how many at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    pub per_second: f64,
    /// So many may come at once; at least 1.
    pub burst: f64,
}

/// What became of asking for one more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RateDecision {
    /// It may come; so many more may come right after it.
    Allowed { remaining: u64 },
    /// It may not, and would be allowed after this time.
    Denied { retry_after: Duration },
}

/// Keeps values with a time to live. Nothing here fails: what cannot be shared stays in this process.
pub trait EphemeralStore: Send + Sync {
    /// Keeps a value under a key for some time.
    fn put<'a>(&'a self, key: &'a str, value: Vec<u8>, life: Duration) -> BoxFuture<'a, ()>;

    /// Takes a value away; it is handed out once.
    fn take<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Option<Vec<u8>>>;

    /// Takes one of what may come at a rate under a key.
    fn spend<'a>(&'a self, key: &'a str, rate: Rate) -> BoxFuture<'a, RateDecision>;

    /// Gives back what [`Self::spend`] took at this rate.
    fn give_back<'a>(&'a self, key: &'a str, rate: Rate) -> BoxFuture<'a, ()>;

    /// Makes the bucket of a key full, whatever its rate.
    fn fill<'a>(&'a self, key: &'a str) -> BoxFuture<'a, ()>;
}

#[cfg(test)]
mod tests;
