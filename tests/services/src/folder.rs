//! A temporary folder that goes with the process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;

use crate::guardian::guard;

struct Folder {
    path: PathBuf,
    _guardian: Child,
}

/// A folder of this process, for what lives as long as the process does: a static value is never dropped, so a
/// [`tempfile::TempDir`] in one stays on the disk. It is removed when the process' end closes the pipe that its guardian
/// reads.
///
/// # Panics
/// When it cannot be made.
pub fn temporary_folder() -> &'static Path {
    static FOLDER: OnceLock<Folder> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let path = tempfile::Builder::new().prefix("touchline-tests-").tempdir().expect("a folder").keep();
        // A server that ends at the same time may write a last file while its folder is removed.
        let script = r#"cat >/dev/null
            for attempt in 1 2 3 4 5; do rm -rf "$0" && sleep 0.2 && [ ! -e "$0" ] && exit; done"#;
        let guardian = guard(Command::new("sh").arg("-c").arg(script).arg(&path));
        Folder { path, _guardian: guardian }
    });
    &folder.path
}
