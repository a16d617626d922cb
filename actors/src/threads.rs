//! Blocking work off the arbiters: on tokio's pool, or on a thread of its own with a name.

use tokio::sync::oneshot;

/// A thread ended without a result: it could not be started, or its work panicked.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {reason}")]
pub struct ThreadError {
    doing: String,
    reason: String,
}

/// Runs blocking work on tokio's pool. `doing` names it in the error.
///
/// # Errors
/// When the work panics.
pub async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ThreadError> {
    let span = tracing::Span::current();
    let done = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    done.map_err(|error| ThreadError { doing: doing.to_owned(), reason: error.to_string() })
}

/// Runs blocking work on a thread of its own, which shows under `name` in the system's tools. For work of seconds and
/// more, which would hold one of the pool's threads all the while.
///
/// # Errors
/// When the thread cannot be started, or the work panics.
pub async fn named<T: Send + 'static>(
    name: String,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ThreadError> {
    let (sender, done) = oneshot::channel();
    // What is logged and traced there belongs to the job it is done for.
    let span = tracing::Span::current();
    let spawned = std::thread::Builder::new().name(name.clone()).spawn(move || {
        // The receiver is dropped only with the node.
        let _ = sender.send(span.in_scope(work));
    });
    let doing = format!("thread {name}");
    match spawned {
        Ok(_) => done.await.map_err(|_| ThreadError { doing, reason: "it panicked".to_owned() }),
        Err(error) => Err(ThreadError { doing, reason: format!("it could not be started: {error}") }),
    }
}

/// Runs `work` to its end also when the caller stops waiting for it, as an HTTP handler does whose client hangs up: a
/// change of several steps is not left half-way.
///
/// # Errors
/// When the work panics.
pub async fn to_completion<T: 'static>(
    doing: &'static str,
    work: impl Future<Output = T> + 'static,
) -> Result<T, ThreadError> {
    let done = actix::spawn(work).await;
    done.map_err(|error| ThreadError { doing: doing.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    #[actix::test]
    async fn a_panic_is_an_error_and_names_the_work() {
        let error = named("encode-0".into(), || -> u32 { panic!("on purpose") }).await.unwrap_err();
        assert_eq!(error.to_string(), "thread encode-0: it panicked");
        let error = blocking("probing", || -> u32 { panic!("on purpose") }).await.unwrap_err();
        assert!(error.to_string().starts_with("probing: "), "{error}");
        assert_eq!(named("encode-1".into(), || 7).await.unwrap(), 7);
    }

    #[actix::test]
    async fn work_ends_although_its_caller_has_left() {
        let (done, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (set, go) = (Arc::clone(&done), Arc::clone(&seen));
        let work = to_completion("counting", async move {
            while !go.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
            set.store(true, Ordering::SeqCst);
        });
        assert!(tokio::time::timeout(Duration::from_millis(5), work).await.is_err(), "the caller leaves first");
        seen.store(true, Ordering::SeqCst);
        while !done.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    }
}
