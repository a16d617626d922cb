//! Where media and segments are kept. Backends sit side by side behind [`Storage`].
//!
//! A key is a relative path whose first part is the tenant's id, so tenants never share a folder.

mod local;

use std::collections::HashSet;
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
    /// Takes over a finished file: its bytes are durable, and the file is gone from `file`, when this returns. When it
    /// fails, the file is where it was.
    fn put_file(&self, key: &str, file: &Path) -> Result<(), StorageError>;

    /// Makes `key` stand for a file that stays where it is.
    fn link_file(&self, key: &str, file: &Path) -> Result<(), StorageError>;

    /// A path under which the object can be read.
    fn local_path(&self, key: &str) -> PathBuf;

    /// Removes an object. One that is not there is no error.
    fn delete(&self, key: &str) -> Result<(), StorageError>;

    /// Removes everything below a key.
    fn delete_prefix(&self, prefix: &str) -> Result<(), StorageError>;

    /// Removes everything below a key but what `kept` names.
    fn delete_all_but(&self, prefix: &str, kept: &HashSet<String>) -> Result<(), StorageError>;

    /// The size of an object, in bytes.
    fn size(&self, key: &str) -> Result<u64, StorageError>;

    /// Every key, in any order.
    fn list(&self) -> Result<Vec<String>, StorageError>;

    /// Whether the place itself is there: a folder that is not mounted is not.
    fn check(&self) -> Result<(), StorageError>;
}

/// Whose files lie below a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    Video(TenantId, VideoId),
    Export(TenantId, ExportId),
}

/// The owner of a key; None of what is no file of Touchline's.
pub fn owner(key: &str) -> Option<Owner> {
    let mut parts = key.split('/');
    let tenant = parts.next()?.parse().ok()?;
    match (parts.next()?, parts.next()?) {
        ("videos", id) => Some(Owner::Video(tenant, id.parse().ok()?)),
        ("exports", id) => Some(Owner::Export(tenant, id.parse().ok()?)),
        _ => None,
    }
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

/// A file of an export. Named by the attempts of the export and of the job, so that a late twin never overwrites a
/// committed one.
pub fn segment_key(tenant: TenantId, export: ExportId, name: &str, attempts: (i32, i32)) -> String {
    format!("{}/segments/{name}-{}-{}", export_prefix(tenant, export), attempts.0, attempts.1)
}

/// The key of an export's result, named as its segments are.
pub fn result_key(tenant: TenantId, export: ExportId, attempts: (i32, i32), extension: &str) -> String {
    format!("{}/result-{}-{}.{extension}", export_prefix(tenant, export), attempts.0, attempts.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_its_owner() {
        let (tenant, video, export) = (TenantId::new(), VideoId::new(), ExportId::new());
        assert_eq!(owner(&video_key(tenant, video)), Some(Owner::Video(tenant, video)));
        assert_eq!(owner(&segment_key(tenant, export, "segment-0", (1, 2))), Some(Owner::Export(tenant, export)));
        assert_eq!(owner(&result_key(tenant, export, (1, 2), "mp4")), Some(Owner::Export(tenant, export)));
        assert_eq!(owner("lost+found/videos/x"), None);
        assert_eq!(owner(".touchline"), None);
    }
}
