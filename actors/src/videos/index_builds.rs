//! Builds the frame indexes of imported videos in the background.
//!
//! 1. A build waits for its permit ([`IndexPermits`]): a limit per node and per tenant.
//! 2. It is counted in the video's row before the file is opened. A file whose build ended the process three times is
//!    not opened again: its video becomes `failed`.
//! 3. While it runs, the row is read once a second; deletion, here or at another node, stops it at the next packet.
//! 4. A build that is stopped, or fails by the machine's fault, takes its count back. One that panics does not.
//!
//! After a crash, videos that were being indexed then are built one at a time, those with the fewest attempts first, so
//! that only the file at fault is charged with the next crash.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use entities::VideoId;
use entities::videos::{self, Video, VideoState};

use super::error::ImportError;
use super::import::{self, Indexing};
use super::index_permits::IndexPermits;
use crate::context::NodeContext;

/// Builds of one tenant at a time.
const PER_TENANT: usize = 2;

/// Crashes after which a file is not opened again.
const MOST_CRASHES: i32 = 3;

/// How often a build looks whether its video still exists.
const WATCH: Duration = Duration::from_secs(1);

/// How long a node that stops waits for its builds.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// The builds of a node. Cheap to clone.
#[derive(Clone)]
pub struct IndexBuilds {
    permits: IndexPermits,
    running: Arc<Mutex<HashMap<VideoId, Arc<AtomicBool>>>>,
    stopping: Arc<AtomicBool>,
}

impl IndexBuilds {
    /// Half of the machine's cores may build at a time: the other half renders.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            permits: IndexPermits::new((cores / 2).max(1), PER_TENANT),
            running: Arc::default(),
            stopping: Arc::default(),
        }
    }

    /// Builds a video's index when its turn comes; an error is logged.
    pub async fn build(&self, context: &NodeContext, video: Video) {
        let id = video.id;
        if let Err(error) = self.try_build(context, video).await {
            tracing::error!(video = %id, %error, "building a frame index failed; the next start tries again");
        }
    }

    async fn try_build(&self, context: &NodeContext, video: Video) -> Result<(), ImportError> {
        let (tenant, id) = (video.tenant_id, video.id);
        if is_given_up(video.index_attempts) {
            return import::fail(context, &video, "unreadable", &crashes(video.index_attempts)).await;
        }
        let permit = self.permits.acquire(tenant).await;
        if self.stopping.load(Ordering::SeqCst) || !videos::begin_indexing(&context.db, tenant, id).await? {
            return Ok(());
        }
        let stop = Arc::new(AtomicBool::new(false));
        self.locked().insert(id, Arc::clone(&stop));
        let build = import::index(context, video, Indexing::Later, Arc::clone(&stop));
        let built = watched(build, || self.is_wanted(context, tenant, id), &stop).await;
        self.locked().remove(&id);
        drop(permit);
        match built {
            Ok(_) => Ok(()),
            // A panic of the file's making counts as a crash.
            Err(error @ ImportError::Thread(_)) => Err(error),
            // The row of a deleted video is gone; there is nothing to count then.
            Err(error) => {
                videos::give_indexing_back(&context.db, tenant, id).await?;
                if stop.load(Ordering::SeqCst) { Ok(()) } else { Err(error) }
            }
        }
    }

    async fn is_wanted(&self, context: &NodeContext, tenant: entities::TenantId, id: VideoId) -> bool {
        // A database that does not answer is no reason to stop.
        let row = videos::get(&context.db, tenant, id).await;
        row.map_or(true, |row| row.is_some_and(|row| row.state == VideoState::Processing))
    }

    /// Goes on after a crash with the videos in `rows`.
    pub async fn resume(&self, context: &Arc<NodeContext>, rows: Vec<Video>) {
        let (suspects, fresh): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.index_attempts > 0);
        for row in fresh {
            let (this, context) = (self.clone(), Arc::clone(context));
            actix::spawn(async move { this.build(&context, row).await });
        }
        for row in suspects {
            self.build(context, row).await;
        }
    }

    /// Stops the build of a video that was deleted.
    pub fn cancel(&self, video: VideoId) {
        if let Some(stop) = self.locked().get(&video) {
            stop.store(true, Ordering::SeqCst);
        }
    }

    /// Stops all builds; the next start goes on with them.
    pub async fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.locked().values().for_each(|stop| stop.store(true, Ordering::SeqCst));
        let ended = async {
            while !self.locked().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        if tokio::time::timeout(STOP_PATIENCE, ended).await.is_err() {
            tracing::warn!(
                "frame indexes were still being built when the node stopped; this counts as a crash of theirs"
            );
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<VideoId, Arc<AtomicBool>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for `build`, and sets `stop` when `is_wanted` says no in between.
async fn watched<T>(build: impl Future<Output = T>, is_wanted: impl AsyncFn() -> bool, stop: &AtomicBool) -> T {
    tokio::pin!(build);
    loop {
        match tokio::time::timeout(WATCH, &mut build).await {
            Ok(built) => return built,
            Err(_) if !is_wanted().await => stop.store(true, Ordering::SeqCst),
            Err(_) => {}
        }
    }
}

/// Whether a file is not opened again after so many builds that did not end.
fn is_given_up(attempts: i32) -> bool {
    attempts >= MOST_CRASHES
}

fn crashes(attempts: i32) -> String {
    format!("the server ended {attempts} times while it indexed this file; it is not opened again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_given_up_after_its_third_crash() {
        assert_eq!([0, 1, 2, 3, 4].map(is_given_up), [false, false, false, true, true]);
        assert!(crashes(3).contains("ended 3 times"));
    }

    #[actix::test]
    async fn a_build_that_is_not_wanted_is_told_to_stop() {
        let stop = AtomicBool::new(false);
        let build = async {
            while !stop.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            7
        };
        assert_eq!(watched(build, async || false, &stop).await, 7);
    }
}
