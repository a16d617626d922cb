//! What can be asked about videos: import, delete, thumbnails, detections in a frame.

use std::path::PathBuf;
use std::sync::Arc;

use entities::videos::{self, Deleted, Video};
use entities::{ExportId, Subject, TenantId, VideoId};

use super::decode_gate::DecodeGate;
use super::error::{DeleteError, FrameDetectionError, ImportError};
use super::frame::FrameChoice;
use super::frame_detection::{self, FoundInFrame};
use super::frame_permits::FramePermits;
use super::import::{self, Indexing, NewSource};
use super::index_builds::IndexBuilds;
use super::thumbnail::{self, Thumbnail, Thumbnails};
use crate::context::NodeContext;
use crate::detections::cache::{Change, Invalidate};
use crate::exports::service::Exports;
use crate::failpoints::{self, Point};
use crate::removals::remove_video_files;
use crate::storage;
use crate::threads::to_completion;

/// Handles to the videos of a node. Cheap to clone.
#[derive(Clone)]
pub struct Videos {
    context: Arc<NodeContext>,
    exports: Exports,
    permits: Arc<FramePermits>,
    thumbnails: Arc<Thumbnails>,
    decoding: Arc<DecodeGate>,
    builds: IndexBuilds,
}

/// What came of deleting a video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    Done,
    /// These unfinished exports read it.
    InUse(Vec<ExportId>),
    /// The tenant has no such video.
    NotFound,
}

impl Videos {
    pub(crate) fn new(context: Arc<NodeContext>, exports: Exports) -> Self {
        Self {
            context,
            exports,
            permits: Arc::default(),
            thumbnails: Arc::default(),
            decoding: Arc::default(),
            builds: IndexBuilds::new(),
        }
    }

    /// Imports a finished file as a video. Returns its row when it was probed and stored, and indexed unless that comes
    /// later.
    ///
    /// # Errors
    /// See [`ImportError`]; nothing of the file is left then.
    pub async fn import(&self, source: NewSource, indexing: Indexing) -> Result<Video, ImportError> {
        let (context, builds) = (Arc::clone(&self.context), self.builds.clone());
        let import = async move {
            let video = import::import(&context, source).await?;
            if indexing != Indexing::Later {
                return import::index(&context, video, indexing, Arc::default()).await;
            }
            let row = video.clone();
            actix::spawn(async move { builds.build(&context, row).await });
            Ok(video)
        };
        to_completion("importing a video", import).await?
    }

    /// Stops the building of frame indexes; the next start goes on with them.
    pub(crate) async fn stop_indexing(&self) {
        self.builds.stop().await;
    }

    /// Builds the indexes of videos whose building a crash interrupted.
    pub(crate) async fn index_unprocessed(&self) {
        match videos::unprocessed(&self.context.db).await {
            Ok(rows) => self.builds.resume(&self.context, rows).await,
            Err(error) => tracing::error!(%error, "reading the unprocessed videos failed"),
        }
    }

    /// Deletes a video and its file; one that cannot be removed is tried again later. `force` cancels unfinished exports
    /// that read it; without, they keep it.
    ///
    /// # Errors
    /// Of the database.
    pub async fn delete(&self, tenant: TenantId, video: VideoId, force: bool) -> Result<Deletion, DeleteError> {
        let this = self.clone();
        to_completion("deleting a video", async move { this.delete_now(tenant, video, force).await }).await?
    }

    async fn delete_now(&self, tenant: TenantId, video: VideoId, force: bool) -> Result<Deletion, DeleteError> {
        let db = &self.context.db;
        let mut deleted = videos::delete(db, tenant, video, false).await?;
        if let (Deleted::InUse(exports), true) = (&deleted, force) {
            // Stopped first, so that no render goes on reading the file.
            for export in exports {
                self.exports.cancel(tenant, *export).await?;
            }
            deleted = videos::delete(db, tenant, video, true).await?;
        }
        match deleted {
            Deleted::NotFound => return Ok(Deletion::NotFound),
            Deleted::InUse(exports) => return Ok(Deletion::InUse(exports)),
            Deleted::Gone { cancelled } => {
                self.builds.cancel(video);
                failpoints::passed(Point::VideoDeleted);
                // First of all, as readers see it. A cache that has stopped answers no reader.
                let gone = Invalidate { tenant, subject: Subject::Video(video), change: Change::Gone };
                let _ = self.context.detections.send(gone).await;
                for export in &cancelled {
                    let subject = Subject::Export(*export);
                    let invalidate = Invalidate { tenant, subject, change: Change::Changed };
                    let _ = self.context.detections.send(invalidate).await;
                }
                // Exports that were accepted between the two reads.
                self.exports.stop_cancelled(tenant, cancelled).await;
            }
        }
        remove_video_files(&self.context, tenant, video).await;
        Ok(Deletion::Done)
    }

    /// Detects persons in one frame of the tenant's video and stores them.
    ///
    /// # Errors
    /// See [`FrameDetectionError`]; nothing is stored then.
    pub async fn detect_in_frame(
        &self,
        tenant: TenantId,
        video: VideoId,
        choice: FrameChoice,
    ) -> Result<FoundInFrame, FrameDetectionError> {
        frame_detection::detect(&self.context, (&self.permits, &self.decoding), (tenant, video), choice).await
    }

    /// A picture of the tenant's video, at most `width` pixels wide, at `time` source seconds; without one, a tenth into
    /// the video.
    ///
    /// # Errors
    /// See [`FrameDetectionError`].
    pub async fn thumbnail(
        &self,
        tenant: TenantId,
        video: VideoId,
        time: Option<f64>,
        width: u32,
    ) -> Result<Thumbnail, FrameDetectionError> {
        thumbnail::make(&self.context, (&self.thumbnails, &self.decoding), (tenant, video), time, width).await
    }

    /// Where the file of a video can be read.
    pub fn file_path(&self, video: &Video) -> PathBuf {
        self.context.storage.local_path(&video.storage_key)
    }

    /// Where the file of a video is stored once it is imported.
    pub fn path_of(&self, tenant: TenantId, video: VideoId) -> PathBuf {
        self.context.storage.local_path(&storage::video_key(tenant, video))
    }
}
