//! Why a file was not imported, a frame not read, or a video not deleted.

use std::io;

use entities::stored::StorageFull;

use crate::exports::error::RequestError;
use crate::inference::client::InferenceError;
use crate::inference::queue::DeviceFault;
use crate::processes::error::ProcessError;
use crate::settings::tenant_limits::LimitReached;
use crate::sources::SourceError;
use crate::storage::StorageError;
use crate::threads::ThreadError;

/// Why a file was not imported. Nothing of it is left, but a linked file stays where it is.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It could not be read; [`ProcessError::refusal`] says whether that is the file's fault.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It is larger than the tenant may bring.
    #[error("the picture is {width}x{height}; at most {side} pixels a side and {pixels} in all are allowed")]
    TooLarge { width: u32, height: u32, side: u32, pixels: u64 },
    /// The tenant stores more than it may; the file is as it was.
    #[error(transparent)]
    Full(#[from] StorageFull),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Database(#[from] entities::Error),
    #[error(transparent)]
    Thread(#[from] ThreadError),
    #[error("{doing}: {source}")]
    Io { doing: &'static str, source: io::Error },
    #[error("{doing}: {detail}")]
    Broken { doing: &'static str, detail: String },
}

/// Why a frame was not read or searched.
#[derive(Debug, thiserror::Error)]
pub enum FrameDetectionError {
    #[error("the tenant has no such video")]
    NotFound,
    #[error("the video is not ready yet")]
    NotReady,
    #[error(transparent)]
    Source(SourceError),
    /// How many frames and seconds the video has.
    #[error("it is outside the video, which has {frames} frames and lasts {seconds:.3} s")]
    Outside { frames: usize, seconds: f64 },
    #[error(transparent)]
    Limit(#[from] LimitReached),
    #[error("the node is stopping")]
    Stopping,
    #[error(transparent)]
    Device(DeviceFault),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Model(#[from] models::ModelError),
    #[error(transparent)]
    Database(#[from] entities::Error),
    #[error(transparent)]
    Thread(#[from] ThreadError),
    #[error("detecting in a frame: {0}")]
    Broken(String),
}

impl From<SourceError> for FrameDetectionError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Unusable("not_ready", _) => Self::NotReady,
            SourceError::Unusable(..) => Self::NotFound,
            error => Self::Source(error),
        }
    }
}

impl From<InferenceError> for FrameDetectionError {
    fn from(error: InferenceError) -> Self {
        match error {
            InferenceError::Stopping => Self::Stopping,
            InferenceError::Device(fault) => Self::Device(fault),
        }
    }
}

/// Why a video was not deleted, or not completely.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    #[error(transparent)]
    Database(#[from] entities::Error),
    #[error("cancelling an export that reads the video: {0}")]
    Cancel(#[from] RequestError),
    #[error(transparent)]
    Thread(#[from] ThreadError),
}
