//! `lost+found/DAY/KEY`: files without a row, kept by the day on which they were found. The day is in the path, so that
//! no time stamp of a file has to survive the move.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use chrono::NaiveDate;
use uuid::Uuid;

use super::folders::sync_folder;

/// Its name in the root of the storage.
pub(super) const FOLDER: &str = "lost+found";
/// Parts of the key of an owner's folder, `TENANT/videos/ID`: folders above it stay.
const OWNER_PARTS: usize = 3;

/// Moves a file there by one rename, and removes its owner's folders that are empty then. Its key afterwards; `None`
/// when the file is gone.
pub(super) fn set_aside(root: &Path, key: &str, day: NaiveDate) -> io::Result<Option<String>> {
    let mut kept = format!("{FOLDER}/{day}/{key}");
    if fs::symlink_metadata(root.join(&kept)).is_ok() {
        kept = format!("{kept}.{}", Uuid::now_v7());
    }
    let (from, to) = (root.join(key), root.join(&kept));
    if let Some(folder) = to.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    match fs::rename(&from, &to) {
        // Another node was faster, or its owner removed it after all.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        moved => moved?,
    }
    sync_folder(&to)?;
    let parts = key.split('/').count();
    for folder in from.ancestors().skip(1).take(parts.saturating_sub(OWNER_PARTS)) {
        if fs::remove_dir(folder).is_err() {
            // There are other files in it.
            break;
        }
    }
    Ok(Some(kept))
}

/// The days of which there are files.
pub(super) fn days(root: &Path) -> io::Result<Vec<NaiveDate>> {
    let entries = match fs::read_dir(root.join(FOLDER)) {
        // An ext4 file system has a folder of that name in its root, which only root may read.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            return Ok(Vec::new());
        }
        entries => entries?,
    };
    let mut days = Vec::new();
    for entry in entries {
        days.extend(entry?.file_name().to_str().and_then(|name| name.parse::<NaiveDate>().ok()));
    }
    Ok(days)
}

/// Deletes the files of a day.
pub(super) fn delete(root: &Path, day: NaiveDate) -> io::Result<()> {
    match fs::remove_dir_all(root.join(FOLDER).join(day.to_string())) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        deleted => deleted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, key: &str, text: &str) {
        fs::create_dir_all(root.join(key).parent().unwrap()).unwrap();
        fs::write(root.join(key), text).unwrap();
    }

    #[test]
    fn a_file_is_moved_whole_and_none_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let (root, day) = (folder.path(), NaiveDate::from_ymd_opt(2026, 3, 1).unwrap());
        put(root, "t/exports/e/segments/0-1", "first");
        put(root, "t/exports/e/segments/0-2", "other");
        let kept = set_aside(root, "t/exports/e/segments/0-1", day).unwrap().unwrap();
        assert_eq!(kept, "lost+found/2026-03-01/t/exports/e/segments/0-1");
        assert!(root.join("t/exports/e/segments/0-2").exists());
        put(root, "t/exports/e/segments/0-1", "second");
        let again = set_aside(root, "t/exports/e/segments/0-1", day).unwrap().unwrap();
        assert_ne!(again, kept);
        assert_eq!(fs::read_to_string(root.join(&kept)).unwrap(), "first");
        assert_eq!(fs::read_to_string(root.join(again)).unwrap(), "second");
        assert_eq!(set_aside(root, "t/exports/e/segments/0-1", day).unwrap(), None);
    }

    #[test]
    fn the_folders_of_an_owner_go_with_its_last_file_and_those_above_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (root, day) = (folder.path(), NaiveDate::from_ymd_opt(2026, 3, 1).unwrap());
        put(root, "t/exports/e/segments/0-1", "");
        set_aside(root, "t/exports/e/segments/0-1", day).unwrap().unwrap();
        assert!(root.join("t/exports").exists() && !root.join("t/exports/e").exists());
    }

    #[test]
    fn days_are_listed_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let (root, day) = (folder.path(), NaiveDate::from_ymd_opt(2026, 3, 1).unwrap());
        assert_eq!(days(root).unwrap(), []);
        put(root, "lost+found/2026-03-01/t/videos/v/source", "");
        put(root, "lost+found/of-another-program/file", "");
        assert_eq!(days(root).unwrap(), [day]);
        delete(root, day).unwrap();
        delete(root, day).unwrap();
        assert_eq!(days(root).unwrap(), []);
        assert!(root.join("lost+found/of-another-program/file").exists());
    }
}
