//! Files that are either whole or not there.

use crate::ModelError;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// Writes `bytes` to a temporary file beside `path`, syncs it, renames it over `path` and syncs the folder: a crash at
/// any point leaves the old file or the new one.
pub(crate) fn atomically(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(ModelError::io("creating folder", folder))?;
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| File::open(folder)?.sync_all());
    written.map_err(|source| {
        // The write error is the one to report; a temporary file that was never made cannot be removed.
        let _ = fs::remove_file(&temporary);
        ModelError::io("writing", path)(source)
    })
}
