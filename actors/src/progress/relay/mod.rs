//! How a node's progress reaches listeners at other nodes: not at all where there are none, else through Redis.

mod none;
pub(super) mod redis;

pub use self::none::NoRelay;
pub use self::redis::RedisRelay;
use crate::progress::message::Progress;

/// Publishes progress to the other nodes, without a guarantee: what does not arrive is read from the rows.
pub trait Relay: Send + Sync {
    /// Sends to the other nodes. Never waits.
    fn publish(&self, progress: &Progress);

    /// Whether every message of other nodes arrives here, as far as is known.
    fn is_lossless(&self) -> bool;
}
