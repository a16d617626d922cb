//! Files below a folder of this machine.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::NaiveDate;
use entities::DeploymentId;

use super::folders::{absent_is_fine, remove_empty, sync_folder, walk, walk_root};
use super::{Storage, StorageError, StoredFile, lost_found, mark};
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

    /// The folder as it is, which may be missing, without changing anything.
    pub fn at(root: PathBuf) -> Self {
        Self { root }
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

/// When the bytes or the name of a file last changed: a rename keeps the time of the bytes, and changes the other.
fn changed(found: &fs::Metadata) -> SystemTime {
    let seconds = found.mtime().max(found.ctime());
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

impl Storage for LocalStorage {
    fn put_file(&self, key: &str, file: &Path) -> Result<(), StorageError> {
        let put = || -> io::Result<()> {
            let target = self.prepared(key)?;
            File::open(file)?.sync_all()?;
            failpoints::at(Point::FileMoving)?;
            let moved = match fs::rename(file, &target) {
                // A removal of files of an earlier attempt took the folder away, which was empty.
                Err(error) if error.kind() == ErrorKind::NotFound => fs::rename(file, self.prepared(key)?),
                moved => moved,
            };
            match moved {
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

    fn delete_files(&self, prefix: &str, keys: &[String]) -> Result<(), StorageError> {
        keys.iter().try_for_each(|key| self.delete(key))?;
        let removed = absent_is_fine(remove_empty(&self.root.join(prefix)));
        removed.map_err(|source| StorageError { doing: "deleting", key: prefix.to_owned(), source })
    }

    fn size(&self, key: &str) -> Result<u64, StorageError> {
        let size = fs::metadata(self.root.join(key)).map(|found| found.len());
        size.map_err(|source| StorageError { doing: "reading the size of", key: key.to_owned(), source })
    }

    fn list(&self, prefix: &str) -> Result<Vec<StoredFile>, StorageError> {
        let mut files = Vec::new();
        let mut add = |path: PathBuf| {
            let is_mark = |name: &Path| name == Path::new(MARK) || mark::is_mark(name);
            let name = path.strip_prefix(&self.root).ok().filter(|name| !is_mark(name));
            let Some(key) = name.and_then(Path::to_str).map(str::to_owned) else { return Ok(()) };
            match fs::symlink_metadata(&path) {
                // It was removed while the folder was read.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                found => {
                    files.push(found.map(|found| StoredFile { key, bytes: found.len(), changed: changed(&found) })?)
                }
            }
            Ok(())
        };
        let folder = self.root.join(prefix);
        // That folder may be the file system's own, which only root may read.
        let listed =
            if prefix.is_empty() { walk_root(&folder, lost_found::FOLDER, &mut add) } else { walk(&folder, &mut add) };
        listed.map_err(|source| StorageError { doing: "listing", key: prefix.to_owned(), source })?;
        Ok(files)
    }

    fn set_aside(&self, key: &str, day: NaiveDate) -> Result<Option<String>, StorageError> {
        let moved = self.is_there().and_then(|()| lost_found::set_aside(&self.root, key, day));
        moved.map_err(|source| StorageError { doing: "moving to lost+found", key: key.to_owned(), source })
    }

    fn days_set_aside(&self) -> Result<Vec<NaiveDate>, StorageError> {
        let key = || lost_found::FOLDER.to_owned();
        lost_found::days(&self.root).map_err(|source| StorageError { doing: "listing", key: key(), source })
    }

    fn delete_set_aside(&self, day: NaiveDate) -> Result<(), StorageError> {
        let key = || format!("{}/{day}", lost_found::FOLDER);
        lost_found::delete(&self.root, day).map_err(|source| StorageError { doing: "deleting", key: key(), source })
    }

    fn mark(&self) -> Result<Option<DeploymentId>, StorageError> {
        let key = || self.root.join(mark::FILE).display().to_string();
        mark::read(&self.root).map_err(|source| StorageError { doing: "reading the mark", key: key(), source })
    }

    fn set_mark(&self, deployment: DeploymentId, anew: bool) -> Result<(), StorageError> {
        let key = || self.root.join(mark::FILE).display().to_string();
        let marked = mark::write(&self.root, deployment, anew);
        marked.map_err(|source| StorageError { doing: "writing the mark", key: key(), source })
    }

    fn check(&self) -> Result<(), StorageError> {
        self.is_there().map_err(|source| StorageError { doing: "checking", key: "the storage".into(), source })
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
    use std::collections::HashSet;

    use super::super::delete_all_but;
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
        delete_all_but(&storage, "t/exports/e", &kept).unwrap();
        storage.set_mark(DeploymentId::new(), false).unwrap();
        storage.set_aside("t/videos/v", NaiveDate::default()).unwrap().unwrap();
        let left = storage.list("").unwrap();
        assert_eq!(
            left.iter().map(|file| (&*file.key, file.bytes)).collect::<Vec<_>>(),
            [("t/exports/e/result-1.mp4", 6)]
        );
        assert_eq!(storage.list("t/exports/e").unwrap(), left);
        assert_eq!(storage.list("t/videos").unwrap(), []);
        assert!(!storage.local_path("t/exports/e/segments").exists());
        delete_all_but(&storage, "t/exports/gone", &HashSet::new()).unwrap();
        assert_eq!(storage.size("t/exports/e/result-1.mp4").unwrap(), 6);
        delete_all_but(&storage, "t/exports/e", &HashSet::new()).unwrap();
        assert!(!storage.local_path("t/exports/e").exists());
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
