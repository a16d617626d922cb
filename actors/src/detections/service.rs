//! What can be asked about detections: held answers first, then the cache actor.

use std::sync::Arc;

use actix::{Addr, MailboxError};

use super::cache::{CachedDetections, DetectionCache, GetDetections, HeldDetections};

/// Handles to the detections of a node. Cheap to clone.
#[derive(Clone)]
pub struct Detections {
    cache: Addr<DetectionCache>,
    held: HeldDetections,
}

impl Detections {
    pub(crate) fn new(cache: Addr<DetectionCache>, held: HeldDetections) -> Self {
        Self { cache, held }
    }

    /// The stored detections of a subject; `None` when the tenant has no such subject. Never starts inference.
    ///
    /// # Errors
    /// Of the database; the outer error when the cache has stopped.
    pub async fn get(
        &self,
        get: GetDetections,
    ) -> Result<Result<Option<Arc<CachedDetections>>, entities::Error>, MailboxError> {
        match self.held.get(&get) {
            Some(held) => Ok(Ok(Some(held))),
            None => self.cache.send(get).await,
        }
    }
}
