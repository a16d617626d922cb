//! Why a request about an export was refused or could not be done.

use edits::FieldError;

use crate::settings::tenant_limits::LimitReached;
use crate::sources::SourceError;
use crate::storage::StorageError;
use crate::threads::ThreadError;

/// Nothing of the request is stored.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("the spec has {} {}", .0.len(), if .0.len() == 1 { "mistake" } else { "mistakes" })]
    Invalid(Vec<FieldError>),
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
