//! The folder of what is this node's own: one process uses it at a time, and it bears the node's name.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use uuid::Uuid;

use crate::node::StartError;

/// A locked folder. It is free again when this is dropped, or when the process ends in whatever way.
pub struct DataDir {
    /// The name of the node that works here, the same at each start: no other process holds leases under it.
    pub name: Uuid,
    _lock: File,
}

impl DataDir {
    /// Makes the folder, where it is missing, and locks it.
    ///
    /// # Errors
    /// When another process uses it, or it cannot be made.
    pub fn lock(folder: &Path) -> Result<Self, StartError> {
        let path = folder.join("lock");
        let failed = |doing| {
            let path = path.clone();
            move |source| StartError::Io { doing, path, source }
        };
        let open = || -> std::io::Result<File> {
            // The rows hold password hashes, the media belong to the clubs: no other user of this machine may read them.
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)
        };
        let mut file = open().map_err(failed("opening"))?;
        file.try_lock().map_err(|refused| match refused {
            TryLockError::WouldBlock => StartError::Locked(folder.to_owned()),
            TryLockError::Error(error) => failed("locking")(error),
        })?;
        let name = name_in(&mut file).map_err(failed("naming the node in"))?;
        Ok(Self { name, _lock: file })
    }
}

/// The name that the file holds; a new one where it holds none, as after a crash while it was written.
fn name_in(file: &mut File) -> std::io::Result<Uuid> {
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    if let Ok(name) = Uuid::try_parse_ascii(text.trim_ascii()) {
        return Ok(name);
    }
    let name = Uuid::now_v7();
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{name}")?;
    file.sync_all()?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_user_and_keeps_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("data");
        let first = DataDir::lock(&own).unwrap();
        assert!(matches!(DataDir::lock(&own), Err(StartError::Locked(_))));
        let name = first.name;
        drop(first);
        assert_eq!(DataDir::lock(&own).unwrap().name, name);
        assert_ne!(DataDir::lock(&folder.path().join("other")).unwrap().name, name);
        std::fs::write(own.join("lock"), "0198c0de").unwrap();
        let renamed = DataDir::lock(&own).unwrap().name;
        assert_ne!(renamed, name, "half a name is none");
        assert_eq!(DataDir::lock(&own).unwrap().name, renamed);
    }
}
