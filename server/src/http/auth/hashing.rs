//! Where passwords are hashed: on threads of their own, with a bound on how many run and how many wait.
//!
//! A hash takes tens of milliseconds of a core and 19 MiB. Logins need no credential, so strangers choose how many come:
//! on the pool that reads and writes files they would delay every upload and download.

use std::sync::Arc;
use std::thread::available_parallelism;

use actors::threads::{ThreadError, named};
use tokio::sync::Semaphore;

use super::password::{self, PasswordError};
use crate::http::problem::Problem;

/// Hashes at once for each core: more would only share the same cores, and each needs its memory.
const RUNNING_PER_CORE: usize = 2;
/// Hashes that wait for each one that runs: about a second's work.
const WAITING_PER_RUNNING: usize = 16;

/// Hashes passwords. Shared by all that do: logins, new accounts, changes.
pub struct Hashing {
    /// One for each hash that runs.
    permits: Arc<Semaphore>,
    /// One for each hash that runs or waits.
    places: Arc<Semaphore>,
}

/// Why a password was not hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashingError {
    /// As many wait as may.
    #[error("too many passwords are being checked")]
    Busy,
    /// The thread could not be started, or panicked.
    #[error(transparent)]
    Thread(#[from] ThreadError),
}

impl From<HashingError> for Problem {
    fn from(error: HashingError) -> Self {
        match error {
            HashingError::Busy => Self::unavailable("busy", "too many passwords are being checked; try again"),
            HashingError::Thread(error) => Self::internal("hashing a password", error),
        }
    }
}

impl Default for Hashing {
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, usize::from);
        Self::with_bounds(RUNNING_PER_CORE * cores, RUNNING_PER_CORE * cores * WAITING_PER_RUNNING)
    }
}

impl Hashing {
    fn with_bounds(running: usize, waiting: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(running)), places: Arc::new(Semaphore::new(running + waiting)) }
    }

    /// Whether `password` belongs to `hash`; see [`password::matches`].
    ///
    /// # Errors
    /// When as many wait as may, or the thread fails.
    pub async fn check(&self, password: String, hash: Option<String>) -> Result<bool, HashingError> {
        self.run(move || password::matches(&password, hash.as_deref())).await
    }

    /// Hashes a new password; see [`password::hash`].
    ///
    /// # Errors
    /// When as many wait as may, or the thread fails; inside, when the password is too short or too long.
    pub async fn hash(&self, password: String) -> Result<Result<String, PasswordError>, HashingError> {
        self.run(move || password::hash(&password)).await
    }

    /// Runs `work` when it is its turn. A caller that leaves gives its place up if it still waits; work that has begun
    /// runs to its end and keeps its permit until then.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, HashingError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| HashingError::Busy)?;
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        let done = named("argon2".to_owned(), move || {
            let _held = (place, permit);
            work()
        });
        Ok(done.await?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    #[actix_web::test]
    async fn what_waits_is_bounded_and_who_leaves_makes_room() {
        let hashing = Hashing::with_bounds(1, 1);
        let (finish, finished) = mpsc::channel::<()>();
        let mut running = Box::pin(hashing.run(move || finished.recv().is_ok()));
        assert!(running.as_mut().now_or_never().is_none(), "it runs until it is ended");
        let mut waiting = Box::pin(hashing.run(|| true));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(matches!(hashing.run(|| true).await, Err(HashingError::Busy)));
        // A client that hangs up while it waits.
        drop(waiting);
        let mut next = Box::pin(hashing.run(|| true));
        assert!(next.as_mut().now_or_never().is_none(), "there is a place, and no permit");
        // One that hangs up while its password is hashed: the hash still runs.
        drop(running);
        assert!(tokio::time::timeout(Duration::from_millis(20), next.as_mut()).await.is_err());
        finish.send(()).unwrap();
        assert!(next.await.unwrap());
    }

    #[actix_web::test]
    async fn a_panic_gives_its_permit_back() {
        let hashing = Hashing::with_bounds(1, 0);
        for _ in 0..3 {
            let failed = hashing.run(|| -> bool { panic!("on purpose") }).await;
            assert!(matches!(failed, Err(HashingError::Thread(_))));
        }
        assert!(hashing.check("a password".to_owned(), None).await.is_ok_and(|right| !right));
    }
}
