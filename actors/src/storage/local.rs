//! Files below a folder of this machine.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{Storage, StorageError};
use crate::failpoints::{self, Point};

/// Lies in the folder as long as it is the one that was opened: where a disk should be mounted and is not, it is missing,
/// and nothing is written into the mount point.
const MARK: &str = ".touchline";

/// See the [module](self).
pub struct LocalStorage {
    root: PathBuf,
}

impl LocalStorage {
    /// Opens the folder, creating it where needed.
    pub fn open(root: PathBuf) -> Result<Self, StorageError> {
        let open = || -> io::Result<()> {
            fs::create_dir_all(&root)?;
            File::options().create(true).append(true).open(root.join(MARK)).map(drop)
        };
        open().map_err(|source| StorageError {
            doing: "opening the storage folder",
            key: root.display().to_string(),
            source,
        })?;
        Ok(Self { root })
    }

    /// The path of `key` with its folder made.
    fn prepared(&self, key: &str) -> io::Result<PathBuf> {
        self.is_there()?;
        let target = self.root.join(key);
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(target)
    }

    fn is_there(&self) -> io::Result<()> {
        fs::metadata(self.root.join(MARK)).map(drop).map_err(|error| {
            let root = self.root.display();
            io::Error::new(
                error.kind(),
                format!("{root} is not the folder it was at the start; is it mounted? ({error})"),
            )
        })
    }
}

/// Calls `each` with every file below `folder`, which need not be there.
fn walk(folder: &Path, each: &mut impl FnMut(PathBuf) -> io::Result<()>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() { walk(&entry.path(), each)? } else { each(entry.path())? }
    }
    Ok(())
}

/// Makes a rename or a removal in `folder` durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Moves a file to another filesystem: whole beside its target first, so that a crash leaves no half of it there.
fn move_across(file: &Path, target: &Path) -> io::Result<()> {
    let mut beside = target.as_os_str().to_owned();
    beside.push(".part");
    let copied = fs::copy(file, &beside).and_then(|_| File::open(&beside)?.sync_all());
    if let Err(error) = copied.and_then(|()| fs::rename(&beside, target)) {
        // A half of it is of no use; the error that matters is the first one.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    sync_folder(target)?;
    fs::remove_file(file)
}

/// Removes the folders below `folder` that have nothing in them.
fn remove_empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_empty(&entry.path())?;
            match fs::remove_dir(entry.path()) {
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
                other => other?,
            }
        }
    }
    Ok(())
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
            failpoints::at(Point::FileMoving)?;
            match fs::rename(file, &target) {
                Err(error) if error.kind() == ErrorKind::CrossesDevices => return move_across(file, &target),
                other => other?,
            }
            failpoints::at(Point::FileMoved).and_then(|()| sync_folder(&target)).inspect_err(|_| {
                // The caller has it back and may try again.
                let _ = fs::rename(&target, file);
            })
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

    fn delete_all_but(&self, prefix: &str, kept: &HashSet<String>) -> Result<(), StorageError> {
        if kept.is_empty() {
            return self.delete_prefix(prefix);
        }
        let kept: HashSet<PathBuf> = kept.iter().map(|key| self.root.join(key)).collect();
        let folder = self.root.join(prefix);
        let mut delete = |path: PathBuf| if kept.contains(&path) { Ok(()) } else { fs::remove_file(path) };
        let deleted = walk(&folder, &mut delete).and_then(|()| remove_empty(&folder));
        deleted.map_err(|source| StorageError { doing: "deleting", key: prefix.to_owned(), source })
    }

    fn size(&self, key: &str) -> Result<u64, StorageError> {
        let size = fs::metadata(self.root.join(key)).map(|found| found.len());
        size.map_err(|source| StorageError { doing: "looking at", key: key.to_owned(), source })
    }

    fn list(&self) -> Result<Vec<String>, StorageError> {
        let mut keys = Vec::new();
        let mut add = |path: PathBuf| {
            let key = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
            keys.extend(key.map(str::to_owned));
            Ok(())
        };
        walk(&self.root, &mut add).map_err(|source| StorageError { doing: "listing", key: String::new(), source })?;
        Ok(keys)
    }

    fn check(&self) -> Result<(), StorageError> {
        self.is_there().map_err(|source| StorageError { doing: "looking for", key: "the storage".into(), source })
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
    fn only_what_is_kept_stays() {
        let folder = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(folder.path().join("media")).unwrap();
        for key in ["t/exports/e/segments/0-1", "t/exports/e/segments/0-2", "t/exports/e/result-1.mp4", "t/videos/v"] {
            let file = folder.path().join("work.tmp");
            fs::write(&file, b"frames").unwrap();
            storage.put_file(key, &file).unwrap();
        }
        let kept = HashSet::from(["t/exports/e/result-1.mp4".to_owned()]);
        storage.delete_all_but("t/exports/e", &kept).unwrap();
        let mut left = storage.list().unwrap();
        left.sort();
        assert_eq!(left, [".touchline", "t/exports/e/result-1.mp4", "t/videos/v"]);
        assert!(!storage.local_path("t/exports/e/segments").exists());
        storage.delete_all_but("t/exports/gone", &HashSet::new()).unwrap();
        assert_eq!(storage.size("t/videos/v").unwrap(), 6);
    }

    #[test]
    fn nothing_is_written_where_the_storage_should_be_mounted() {
        let folder = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(folder.path().join("media")).unwrap();
        let file = folder.path().join("work.tmp");
        fs::write(&file, b"frames").unwrap();
        fs::rename(folder.path().join("media"), folder.path().join("unmounted")).unwrap();
        fs::create_dir(folder.path().join("media")).unwrap();
        assert!(storage.check().is_err());
        let error = storage.put_file("t/videos/v", &file).unwrap_err().to_string();
        assert!(error.contains("is it mounted?"), "{error}");
        assert!(file.exists(), "the caller has lost its file");
        assert_eq!(fs::read_dir(folder.path().join("media")).unwrap().count(), 0);
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
