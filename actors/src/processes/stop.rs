//! The stop signal of running work.

use tokio::sync::watch;

/// Why work stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The export is not wanted any more: its partial files go.
    Cancelled,
    /// The node stops: the work goes on at the next start.
    NodeStops,
}

/// Raised once; ends every task of an export.
#[derive(Debug)]
pub struct StopSignal(watch::Sender<Option<StopReason>>);

impl StopSignal {
    /// A signal that is not raised.
    #[expect(clippy::new_without_default, reason = "a signal is made, not a value that happens to be the default")]
    pub fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Raises the signal; the first reason stays.
    pub fn raise(&self, reason: StopReason) {
        self.0.send_if_modified(|raised| {
            let first = raised.is_none();
            raised.get_or_insert(reason);
            first
        });
    }

    pub fn reason(&self) -> Option<StopReason> {
        *self.0.borrow()
    }

    pub fn is_raised(&self) -> bool {
        self.reason().is_some()
    }

    /// Waits until the signal is raised.
    pub async fn raised(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_stays() {
        let signal = StopSignal::new();
        assert!(!signal.is_raised());
        signal.raise(StopReason::NodeStops);
        signal.raise(StopReason::Cancelled);
        assert_eq!(signal.reason(), Some(StopReason::NodeStops));
        signal.raised().await;
    }
}
