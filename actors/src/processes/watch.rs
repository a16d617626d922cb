//! Watches a render process: kills it when its time is up, or when it is not wanted any more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::{self, BoxFuture, FutureExt};
use media::MediaError;
use sandbox::Killer;
use tokio::task::JoinHandle;

use super::error::ProcessError;
use super::stop::StopSignal;

/// How often it is checked that a task advances.
const WATCH_EVERY: Duration = Duration::from_millis(50);

/// For how long a task may go on.
pub(super) struct Patience {
    longest: Duration,
    /// `longest` begins anew whenever it advances.
    renewed: bool,
    /// Is over when the task is not wanted any more.
    unwanted: BoxFuture<'static, ()>,
}

impl Patience {
    /// For `longest` after every sign that it advances.
    pub fn while_it_advances(longest: Duration) -> Self {
        Self { longest, renewed: true, unwanted: future::pending().boxed() }
    }

    /// For `longest`, whatever it does.
    pub fn in_all(longest: Duration) -> Self {
        Self { longest, renewed: false, unwanted: future::pending().boxed() }
    }

    /// No longer than until `stop` is set.
    pub fn unless_set(self, stop: &Arc<AtomicBool>) -> Self {
        let stop = Arc::clone(stop);
        let set = async move {
            while !stop.load(Ordering::Relaxed) {
                tokio::time::sleep(WATCH_EVERY).await;
            }
        };
        Self { unwanted: set.boxed(), ..self }
    }

    /// No longer than until `stop` is raised.
    pub fn unless_raised(self, stop: &Arc<StopSignal>) -> Self {
        let stop = Arc::clone(stop);
        Self { unwanted: async move { stop.raised().await }.boxed(), ..self }
    }
}

/// Why a process was killed.
#[derive(Debug, Clone, Copy)]
enum Killed {
    Stopped,
    Late { seconds: f64, missing: &'static str },
}

/// Signs of life of a process.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// Grows while it advances.
    pub beats: AtomicU64,
    /// Pictures of it that are with the devices: meanwhile it may wait.
    pub with_devices: AtomicU64,
}

/// See the [module](self).
pub(super) struct Watch {
    pub signs: Arc<Signs>,
    ender: Ender,
    watching: JoinHandle<()>,
}

/// Ends a watched process. Cheap to clone.
#[derive(Clone)]
pub(super) struct Ender {
    why: Arc<OnceLock<Killed>>,
    killer: Killer,
}

impl Ender {
    /// Kills the process, which is not wanted any more.
    pub fn stop(&self) {
        self.end(Killed::Stopped);
    }

    /// Whether the process was killed here.
    pub fn has_ended(&self) -> bool {
        self.why.get().is_some()
    }

    fn end(&self, why: Killed) {
        // Before the kill, so that the reason is there when the end is seen.
        let _ = self.why.set(why);
        self.killer.kill();
    }
}

impl Watch {
    pub fn start(killer: Killer, patience: Patience) -> Self {
        let signs = Arc::new(Signs::default());
        let ender = Ender { why: Arc::default(), killer };
        let (seen, ends) = (Arc::clone(&signs), ender.clone());
        let watching = tokio::spawn(async move { ends.end(watch(&seen, patience).await) });
        Self { signs, ender, watching }
    }

    /// What ends the process.
    pub fn ender(&self) -> Ender {
        self.ender.clone()
    }

    /// Why it was killed, if it was.
    pub fn why(&self, doing: &'static str) -> Option<ProcessError> {
        Some(match *self.ender.why.get()? {
            Killed::Stopped => ProcessError::Media(MediaError::Cancelled),
            Killed::Late { seconds, missing } => ProcessError::Late { doing, seconds, missing },
        })
    }
}

/// Waits until the process must be killed.
async fn watch(signs: &Signs, patience: Patience) -> Killed {
    let Patience { longest, renewed, mut unwanted } = patience;
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        tokio::select! {
            () = &mut unwanted => return Killed::Stopped,
            () = tokio::time::sleep(WATCH_EVERY.min(longest)) => {}
        }
        let now = signs.beats.load(Ordering::Relaxed);
        if renewed && (now != seen || signs.with_devices.load(Ordering::Relaxed) > 0) {
            (seen, since) = (now, Instant::now());
        }
        if since.elapsed() >= longest {
            let missing = if renewed { "without progress" } else { "without an answer" };
            return Killed::Late { seconds: longest.as_secs_f64(), missing };
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watching.abort();
        self.ender.killer.kill();
    }
}
