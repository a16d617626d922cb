//! Ctrl-C, SIGTERM, and SIGHUP of a terminal that was closed.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::error::CliError;

/// From its making on, these signals no longer end the process by themselves.
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Interrupts {
    pub fn listen() -> Result<Self, CliError> {
        let on = |kind| signal(kind).map_err(|error| CliError::failed("listening for signals", error));
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hang_up: on(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
