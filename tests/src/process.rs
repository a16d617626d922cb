//! Signals to the processes that tests start, without the `kill` program, which a minimal Debian does not have.

use std::process::Child;

use anyhow::{Context, Result};
pub use nix::sys::signal::Signal;
use nix::unistd::Pid;

/// Sends a signal to a child that was not waited for yet.
///
/// # Errors
/// When the child has ended and was waited for.
pub fn signal(child: &Child, signal: Signal) -> Result<()> {
    let id = i32::try_from(child.id()).context("a process id fits")?;
    nix::sys::signal::kill(Pid::from_raw(id), signal).with_context(|| format!("sending {signal} to process {id}"))
}
