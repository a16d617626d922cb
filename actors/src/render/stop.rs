//! The stop signal of running work.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::sync::watch;

/// Why work stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The export is not wanted any more: its partial files go.
    Cancelled,
    /// The node stops: the work goes on at the next start.
    NodeStops,
}

/// Raised once, seen by every thread of an export.
pub struct StopSignal {
    raised: watch::Sender<Option<StopReason>>,
    runtime: Handle,
}

impl StopSignal {
    /// A signal that is not raised. To be made inside the runtime.
    #[expect(clippy::new_without_default, reason = "it needs a runtime around it")]
    pub fn new() -> Self {
        Self { raised: watch::Sender::new(None), runtime: Handle::current() }
    }

    /// Raises the signal; the first reason stays.
    pub fn raise(&self, reason: StopReason) {
        self.raised.send_if_modified(|raised| {
            let first = raised.is_none();
            raised.get_or_insert(reason);
            first
        });
    }

    pub fn reason(&self) -> Option<StopReason> {
        *self.raised.borrow()
    }

    pub fn is_raised(&self) -> bool {
        self.reason().is_some()
    }

    /// Blocks a render thread until `answer` is there, or the signal is raised: then None.
    pub fn wait_for<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let mut raised = self.raised.subscribe();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                answer = answer => Some(answer),
                _ = raised.wait_for(Option::is_some) => None,
            }
        })
    }
}
