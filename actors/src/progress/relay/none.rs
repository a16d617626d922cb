//! No other node is told.

use super::Relay;
use crate::progress::message::Progress;

/// A node without other nodes to inform.
pub struct NoRelay {
    /// Others may use the same database all the same.
    pub shared_database: bool,
}

impl Relay for NoRelay {
    fn publish(&self, _: &Progress) {}

    fn is_lossless(&self) -> bool {
        !self.shared_database
    }
}
