//! Why a node cannot start.

use std::path::PathBuf;

use crate::orphans::SweepError;
use crate::processes::error::ProcessError;
use crate::storage::StorageError;
use crate::storage::adoption::AdoptionError;

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("another Touchline uses {0}; stop it, or give this one its own data_dir")]
    Locked(PathBuf),
    #[error("{doing} {path}: {source}")]
    Io { doing: &'static str, path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Database(#[from] entities::Error),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Adoption(#[from] AdoptionError),
    #[error("sweeping what a crash left: {0}")]
    Sweep(#[from] SweepError),
    #[error(transparent)]
    Models(#[from] models::ModelError),
    #[error("redis.url: {0}")]
    Redis(String),
    #[error("{0}; without seccomp and resource limits no file of a tenant is opened")]
    Confinement(ProcessError),
    #[error("devices.list: {0}")]
    Devices(String),
}
