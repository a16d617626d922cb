//! Files below a folder of this machine.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{Storage, StorageError};

/// See the [module](self).
pub struct LocalStorage {
    root: PathBuf,
}

impl LocalStorage {
    /// Opens the folder, creating it where needed.
    pub fn open(root: PathBuf) -> Result<Self, StorageError> {
        fs::create_dir_all(&root).map_err(|source| StorageError {
            doing: "creating the storage folder",
            key: root.display().to_string(),
            source,
        })?;
        Ok(Self { root })
    }

    /// The path of `key` with its folder made.
    fn prepared(&self, key: &str) -> io::Result<PathBuf> {
        let target = self.root.join(key);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(target)
    }
}

/// Makes a rename or a removal in `folder` durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Moves a file to another filesystem: whole beside its target first, so that a crash leaves no half of it there.
fn move_across(file: &Path, target: &Path) -> io::Result<()> {
    let mut beside = target.as_os_str().to_owned();
    beside.push(".part");
    fs::copy(file, &beside)?;
    File::open(&beside)?.sync_all()?;
    fs::rename(&beside, target)?;
    fs::remove_file(file)
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl Storage for LocalStorage {
    fn put_file(&self, key: &str, file: &Path) -> Result<(), StorageError> {
        let put = || -> io::Result<()> {
            let target = self.prepared(key)?;
            File::open(file)?.sync_all()?;
            match fs::rename(file, &target) {
                Err(error) if error.kind() == ErrorKind::CrossesDevices => move_across(file, &target)?,
                other => other?,
            }
            sync_folder(&target)
        };
        put().map_err(|source| StorageError { doing: "storing", key: key.to_owned(), source })
    }

    fn link_file(&self, key: &str, file: &Path) -> Result<(), StorageError> {
        let link = || -> io::Result<()> {
            let target = self.prepared(key)?;
            std::os::unix::fs::symlink(fs::canonicalize(file)?, &target)
        };
        link().map_err(|source| StorageError { doing: "linking", key: key.to_owned(), source })
    }

    fn local_path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    fn delete(&self, key: &str) -> Result<(), StorageError> {
        absent_is_fine(fs::remove_file(self.root.join(key))).map_err(|source| StorageError {
            doing: "deleting",
            key: key.to_owned(),
            source,
        })
    }

    fn delete_prefix(&self, prefix: &str) -> Result<(), StorageError> {
        absent_is_fine(fs::remove_dir_all(self.root.join(prefix))).map_err(|source| StorageError {
            doing: "deleting",
            key: prefix.to_owned(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_moves_in_and_goes_with_its_prefix() {
        let folder = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(folder.path().join("media")).unwrap();
        let file = folder.path().join("work.tmp");
        fs::write(&file, b"frames").unwrap();
        storage.put_file("tenant/exports/e/segments/0-1", &file).unwrap();
        assert!(!file.exists());
        let stored = storage.local_path("tenant/exports/e/segments/0-1");
        assert_eq!(fs::read(&stored).unwrap(), b"frames");
        storage.delete_prefix("tenant/exports/e").unwrap();
        assert!(!stored.exists());
        storage.delete_prefix("tenant/exports/e").unwrap();
    }

    #[test]
    fn a_file_that_must_be_copied_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let (file, target) = (folder.path().join("work.tmp"), folder.path().join("stored"));
        fs::write(&file, b"frames").unwrap();
        move_across(&file, &target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"frames");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_linked_file_survives_its_deletion_here() {
        let folder = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(folder.path().join("media")).unwrap();
        let file = folder.path().join("match.mp4");
        fs::write(&file, b"match").unwrap();
        storage.link_file("tenant/videos/v/source", &file).unwrap();
        assert_eq!(fs::read(storage.local_path("tenant/videos/v/source")).unwrap(), b"match");
        storage.delete_prefix("tenant/videos/v").unwrap();
        assert!(file.exists());
    }
}
