//! Why a request about an export was refused or could not be done, and why a job of one ended early.

use edits::FieldError;
use media::MediaError;

use crate::processes::error::ProcessError;
use crate::settings::tenant_limits::LimitReached;
use crate::sources::SourceError;
use crate::storage::StorageError;
use crate::threads::ThreadError;

/// Nothing of the request is stored.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("the spec has {} {}", .0.len(), if .0.len() == 1 { "mistake" } else { "mistakes" })]
    Invalid(Vec<FieldError>),
    #[error(
        "a spec has at most {} bytes of JSON, without the spaces between its tokens",
        edits::spec::limits::MAX_BYTES
    )]
    TooLarge,
    #[error("the idempotency key came with another body before")]
    KeyReused,
    #[error(transparent)]
    Limit(#[from] LimitReached),
    #[error("jobs of the last attempt are still stopping; try again in a moment")]
    StillEnding,
    #[error(transparent)]
    Database(#[from] entities::Error),
    #[error("writing the export: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Model(#[from] models::ModelError),
    #[error(transparent)]
    Thread(#[from] ThreadError),
    #[error("{0}")]
    Broken(String),
}

/// Why a job ended early.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Its export is not wanted any more, or the node stops: no failure.
    #[error("stopped")]
    Stopped,
    #[error(transparent)]
    Process(ProcessError),
    #[error("{doing}: {source}")]
    Io { doing: String, source: std::io::Error },
    #[error(transparent)]
    Thread(#[from] ThreadError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Database(#[from] entities::Error),
    #[error("{0}")]
    Broken(String),
}

impl From<ProcessError> for JobError {
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::Media(MediaError::Cancelled) => Self::Stopped,
            error => Self::Process(error),
        }
    }
}
