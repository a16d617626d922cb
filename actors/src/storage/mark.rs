//! The mark of a storage: a file with the id of the deployment that its files are of.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use entities::DeploymentId;
use uuid::Uuid;

/// Its name in the root of the storage.
pub(super) const FILE: &str = ".touchline-deployment";

/// Whether a path, relative to the root, is that of a mark or of one that a crash left unfinished.
pub(super) fn is_mark(name: &Path) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(FILE))
}

/// The id in the mark; `None` where there is no mark.
pub(super) fn read(root: &Path) -> io::Result<Option<DeploymentId>> {
    let text = match fs::read(root.join(FILE)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text?,
    };
    let damaged = || {
        let detail = "it holds no id of a deployment; restore it, or write it anew with `touchline storage adopt`";
        io::Error::new(ErrorKind::InvalidData, detail)
    };
    let id = Uuid::try_parse_ascii(text.trim_ascii()).map_err(|_| damaged())?;
    Ok(Some(id.into()))
}

/// Marks a storage, unless it has a mark already and must not be marked `anew`. The file appears whole or not at all,
/// also after a crash.
pub(super) fn write(root: &Path, id: DeploymentId, anew: bool) -> io::Result<()> {
    let part = root.join(format!("{FILE}.{}", Uuid::now_v7()));
    let written = write_part(&part, id).and_then(|()| {
        if anew {
            return fs::rename(&part, root.join(FILE));
        }
        // Unlike a rename it does not replace the mark of a node that was faster.
        match fs::hard_link(&part, root.join(FILE)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::PermissionDenied) => {
                fs::rename(&part, root.join(FILE))
            }
            linked => linked,
        }
    });
    // After a rename it is gone; the error that matters is that of the mark.
    let _ = fs::remove_file(&part);
    written?;
    fs::File::open(root)?.sync_all()
}

fn write_part(part: &Path, id: DeploymentId) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part)?;
    writeln!(file, "{id}")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_mark_stays_until_it_is_replaced_on_purpose() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (DeploymentId::new(), DeploymentId::new());
        assert_eq!(read(folder.path()).unwrap(), None);
        write(folder.path(), first, false).unwrap();
        write(folder.path(), second, false).unwrap();
        assert_eq!(read(folder.path()).unwrap(), Some(first));
        write(folder.path(), second, true).unwrap();
        assert_eq!(read(folder.path()).unwrap(), Some(second));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the mark");
        fs::write(folder.path().join(FILE), "0198c0de").unwrap();
        assert!(read(folder.path()).unwrap_err().to_string().contains("touchline storage adopt"));
    }
}
