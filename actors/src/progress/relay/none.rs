//! The relay of a node that is alone: it sends nothing.

use super::Relay;
use crate::progress::message::Progress;

/// See the [module](self).
pub struct NoRelay {
    /// Other nodes may use the same database nevertheless.
    pub shared_database: bool,
}

impl Relay for NoRelay {
    fn publish(&self, _: &Progress) {}

    fn is_lossless(&self) -> bool {
        !self.shared_database
    }
}
