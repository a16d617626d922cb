//! Where media and segments are kept. Backends sit side by side behind [`Storage`].
//!
//! A key is a relative path whose first part is the tenant's id, so tenants never share a folder.

mod local;

use std::path::{Path, PathBuf};

use entities::{ExportId, TenantId, VideoId};

pub use local::LocalStorage;

/// What went wrong with a stored object.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {key}: {source}")]
pub struct StorageError {
    pub doing: &'static str,
    pub key: String,
    pub source: std::io::Error,
}

/// A place for finished files. Calls block: use them from worker threads.
pub trait Storage: Send + Sync {
    /// Takes over a finished file: its bytes are durable, and the file is gone from `file`, when this returns.
    fn put_file(&self, key: &str, file: &Path) -> Result<(), StorageError>;

    /// Makes `key` stand for a file that stays where it is.
    fn link_file(&self, key: &str, file: &Path) -> Result<(), StorageError>;

    /// A path under which the object can be read.
    fn local_path(&self, key: &str) -> PathBuf;

    /// Removes an object. One that is not there is no error.
    fn delete(&self, key: &str) -> Result<(), StorageError>;

    /// Removes everything below a key.
    fn delete_prefix(&self, prefix: &str) -> Result<(), StorageError>;
}

/// The key of a video's source file.
pub fn video_key(tenant: TenantId, video: VideoId) -> String {
    format!("{tenant}/videos/{video}/source")
}

/// The folder of everything a video owns.
pub fn video_prefix(tenant: TenantId, video: VideoId) -> String {
    format!("{tenant}/videos/{video}")
}

/// The folder of everything an export owns.
pub fn export_prefix(tenant: TenantId, export: ExportId) -> String {
    format!("{tenant}/exports/{export}")
}

/// The folder of an export's finished segments.
pub fn segments_prefix(tenant: TenantId, export: ExportId) -> String {
    format!("{}/segments", export_prefix(tenant, export))
}

/// A file of an export. Named by the job's attempt, so that a late twin never overwrites a committed one.
pub fn segment_key(tenant: TenantId, export: ExportId, name: &str, attempt: i32) -> String {
    format!("{}/{name}-{attempt}", segments_prefix(tenant, export))
}

/// The key of an export's result.
pub fn result_key(tenant: TenantId, export: ExportId, attempt: i32, extension: &str) -> String {
    format!("{}/result-{attempt}.{extension}", export_prefix(tenant, export))
}
