//! Where media and segments are kept. Backends sit side by side behind [`Storage`].
//!
//! A key is a relative path whose first part is the tenant's id, so tenants never share a folder.

pub mod adoption;
mod folders;
mod local;
mod lost_found;
mod mark;
mod owners;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::NaiveDate;
use entities::{DeploymentId, ExportId, TenantId, VideoId};
use uuid::Uuid;

pub use local::LocalStorage;
pub use owners::{Known, known};

/// What went wrong with a stored object.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {key}: {source}")]
pub struct StorageError {
    pub doing: &'static str,
    pub key: String,
    pub source: std::io::Error,
}

/// A stored object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFile {
    pub key: String,
    /// Its size, in bytes.
    pub bytes: u64,
    /// When its bytes or its name last changed, by the storage's clock.
    pub changed: SystemTime,
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

    /// Removes some objects below a key, and the folders there that have nothing in them then. Objects that are not there
    /// are no error.
    fn delete_files(&self, prefix: &str, keys: &[String]) -> Result<(), StorageError>;

    /// The size of an object, in bytes.
    fn size(&self, key: &str) -> Result<u64, StorageError>;

    /// Every object below a key, or with an empty one in the whole storage, in any order. Without the storage's own
    /// marks and what was set aside.
    fn list(&self, prefix: &str) -> Result<Vec<StoredFile>, StorageError>;

    /// Moves an object without a row to `lost+found`, under the day on which it was found. Its key there; `None` when
    /// it is gone.
    fn set_aside(&self, key: &str, day: NaiveDate) -> Result<Option<String>, StorageError>;

    /// The days of which objects are set aside.
    fn days_set_aside(&self) -> Result<Vec<NaiveDate>, StorageError>;

    /// Deletes what was set aside on a day.
    fn delete_set_aside(&self, day: NaiveDate) -> Result<(), StorageError>;

    /// The deployment that the storage is marked with.
    fn mark(&self) -> Result<Option<DeploymentId>, StorageError>;

    /// Marks the storage with a deployment. A mark that is there is replaced only `anew`.
    fn set_mark(&self, deployment: DeploymentId, anew: bool) -> Result<(), StorageError>;

    /// Whether the place itself is there: a folder that is not mounted is not.
    fn check(&self) -> Result<(), StorageError>;
}

/// Removes everything that is below a key now, but what `kept` names.
///
/// # Errors
/// Of the storage.
pub fn delete_all_but(store: &dyn Storage, prefix: &str, kept: &HashSet<String>) -> Result<(), StorageError> {
    let keys = store.list(prefix)?.into_iter().map(|file| file.key);
    let keys: Vec<String> = keys.filter(|key| !kept.contains(key)).collect();
    store.delete_files(prefix, &keys)
}

/// Whose files lie below a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    Video(TenantId, VideoId),
    Export(TenantId, ExportId),
}

impl Owner {
    /// The id of the video or export.
    pub fn uuid(self) -> Uuid {
        match self {
            Self::Video(_, id) => id.uuid(),
            Self::Export(_, id) => id.uuid(),
        }
    }
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

/// The folder of everything an owner has.
pub fn prefix(owner: Owner) -> String {
    match owner {
        Owner::Video(tenant, id) => video_prefix(tenant, id),
        Owner::Export(tenant, id) => export_prefix(tenant, id),
    }
}

/// A file of an export. Named by the attempts of the export and of the job, so that a late twin never overwrites a
/// committed one.
pub fn segment_key(tenant: TenantId, export: ExportId, name: &str, attempts: (i32, i32)) -> String {
    format!("{}/{name}-{}-{}", segments_prefix(tenant, export), attempts.0, attempts.1)
}

/// The attempt of its export that made a file, by its key; 0 of what is named otherwise.
pub fn attempt_of(key: &str) -> i32 {
    let name = key.rsplit('/').next().unwrap_or(key);
    let stem = name.split('.').next().unwrap_or(name);
    stem.rsplit('-').nth(1).and_then(|attempt| attempt.parse().ok()).unwrap_or(0)
}

/// The folder of an export's finished parts.
pub fn segments_prefix(tenant: TenantId, export: ExportId) -> String {
    format!("{}/segments", export_prefix(tenant, export))
}

/// The key of an export's result, named as its segments are.
pub fn result_key(tenant: TenantId, export: ExportId, attempts: (i32, i32), extension: &str) -> String {
    format!("{}/result-{}-{}.{extension}", export_prefix(tenant, export), attempts.0, attempts.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_attempt() {
        let (tenant, export) = (TenantId::new(), ExportId::new());
        assert_eq!(attempt_of(&segment_key(tenant, export, "audio-0", (3, 1))), 3);
        assert_eq!(attempt_of(&result_key(tenant, export, (12, 2), "mp4")), 12);
        assert_eq!(attempt_of(&video_key(tenant, VideoId::new())), 0);
    }

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
