//! The folder of what is this node's own: one process uses it at a time, and it bears the node's name.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
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
    /// Makes the folder, where it is missing, locks it, and takes every right to it and to what is in it from other
    /// users: the rows hold password hashes, the media belong to the tenants. The process's umask does the same for what
    /// it makes from then on.
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
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)
        };
        let mut file = open().map_err(failed("opening"))?;
        file.try_lock().map_err(|refused| match refused {
            TryLockError::WouldBlock => StartError::Locked(folder.to_owned()),
            TryLockError::Error(error) => failed("locking")(error),
        })?;
        // Not before it is locked: only then is it known to be the folder of a node.
        tighten(folder).map_err(failed("restricting the folder of"))?;
        let name = name_in(&mut file).map_err(failed("naming the node in"))?;
        Ok(Self { name, _lock: file })
    }
}

/// The rights of group and others.
const OTHERS: u32 = 0o077;

/// Takes the rights of group and others from a folder and everything in it. Symbolic links are left as they are, with
/// what they lead to.
fn tighten(folder: &Path) -> std::io::Result<()> {
    tighten_one(folder, &fs::metadata(folder)?);
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        if metadata.is_dir() {
            tighten(&entry.path())?;
        } else if metadata.is_file() {
            tighten_one(&entry.path(), &metadata);
        }
    }
    Ok(())
}

/// What belongs to another user stays as it is: it may have been put there on purpose.
fn tighten_one(path: &Path, metadata: &fs::Metadata) {
    let mode = metadata.permissions().mode();
    if mode & OTHERS == 0 {
        return;
    }
    if let Err(error) = fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o7777 & !OTHERS)) {
        tracing::warn!(path = %path.display(), %error, "other users may have rights to a file of data_dir");
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
    fn a_folder_that_others_may_read_is_tightened_with_all_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let (own, outside) = (folder.path().join("data"), folder.path().join("outside"));
        fs::create_dir_all(own.join("media/club")).unwrap();
        for (path, mode) in [(&own, 0o755), (&own.join("media"), 0o777), (&own.join("media/club"), 0o750)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        for path in [&outside, &own.join("touchline.db"), &own.join("media/club/source")] {
            fs::write(path, "x").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        std::os::unix::fs::symlink(&outside, own.join("media/linked")).unwrap();
        let _locked = DataDir::lock(&own).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for path in ["", "media", "media/club"] {
            assert_eq!(mode(&own.join(path)), 0o700, "{path}");
        }
        for path in ["lock", "touchline.db", "media/club/source"] {
            assert_eq!(mode(&own.join(path)), 0o600, "{path}");
        }
        assert_eq!(mode(&outside), 0o644, "what a link leads to is not ours");
    }

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
