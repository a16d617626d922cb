//! Scenarios that measure times or load the whole machine: one at a time, however many threads the harness has.

mod attack;
mod devices;
mod fairness;
mod kills;
mod latency;
mod listeners;
mod load;
mod redis_away;

use tokio::sync::{Mutex, MutexGuard};

/// Waits until no other test of this program runs; the test holds the guard to its end.
async fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::const_new(());
    TURN.lock().await
}
