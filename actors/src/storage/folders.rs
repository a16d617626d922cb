//! Folders of this machine's file systems: their files, changes that are to last, and what is empty.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Calls `each` with every file below `folder`, which need not be there.
pub(super) fn walk(folder: &Path, each: &mut impl FnMut(PathBuf) -> io::Result<()>) -> io::Result<()> {
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

/// [`walk`] without the folder `skipped` in the root.
pub(super) fn walk_root(
    root: &Path,
    skipped: &str,
    each: &mut impl FnMut(PathBuf) -> io::Result<()>,
) -> io::Result<()> {
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let is_skipped = entry.file_name() == skipped;
        match entry.file_type()?.is_dir() {
            true if is_skipped => {}
            true => walk(&entry.path(), each)?,
            false => each(entry.path())?,
        }
    }
    Ok(())
}

/// Makes a rename or a removal of `path` durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Removes `folder` and those below it that have nothing in them.
pub(super) fn remove_empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            absent_is_fine(remove_empty(&entry.path()))?;
        }
    }
    match fs::remove_dir(folder) {
        // The last two: an operator made it a link or a mount point.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DirectoryNotEmpty | ErrorKind::NotADirectory | ErrorKind::ResourceBusy
            ) =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Turns the error that something is not there into success.
pub(super) fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
