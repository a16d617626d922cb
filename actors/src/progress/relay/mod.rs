//! How a node's progress reaches listeners at other nodes: not at all where there are none, else through Redis.

mod none;
mod redis;

pub use self::none::NoRelay;
pub use self::redis::{RedisRelay, follow};
use crate::progress::message::Progress;

/// Brings progress to the other nodes, as well as it can: what does not arrive is found in the rows.
pub trait Relay: Send + Sync {
    /// Tells the other nodes. Never waits.
    fn publish(&self, progress: &Progress);

    /// Whether everything that other nodes tell arrives here, as far as is known.
    fn is_lossless(&self) -> bool;
}
