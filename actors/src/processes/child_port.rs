//! What a render process has of its owner.

use std::sync::Arc;
use std::time::Duration;

use sandbox::{Channel, Exchange};

/// How often the owner is told that the work advances: by time, since a packet may take a microsecond or a second.
pub(super) const BEAT_EVERY: Duration = Duration::from_millis(250);

/// See the [module](self).
#[derive(Clone)]
pub(super) struct Port {
    pub channel: Arc<Channel>,
    pub exchange: Arc<Exchange>,
}
