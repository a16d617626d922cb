//! Putting a finished result where it was asked for: whole, or not at all.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::error::CliError;

/// Moves `result` to `output`, replacing what is there. No reader ever sees half a file.
pub fn publish(result: &Path, output: &Path) -> Result<(), CliError> {
    let written = match fs::rename(result, output) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy_beside(result, output),
        done => done,
    };
    written.map_err(|error| CliError::failed(format!("writing {}", output.display()), error))
}

/// Copies to a temporary name in the folder of `output`, then renames.
fn copy_beside(result: &Path, output: &Path) -> io::Result<()> {
    let folder = folder_of(output);
    let mut draft = tempfile::Builder::new()
        .prefix(".touchline-")
        .suffix(".tmp")
        // As any new file: readable as the umask allows, not private like temporary files.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    io::copy(&mut File::open(result)?, &mut draft)?;
    draft.as_file().sync_all()?;
    draft.persist(output).map_err(|error| error.error)?;
    Ok(())
}

/// The folder a file is in; the working folder for a bare name.
pub fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_replaces_the_old_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let (result, output) = (folder.path().join("result"), folder.path().join("reel.mp4"));
        fs::write(&result, "new").unwrap();
        fs::write(&output, "old").unwrap();
        copy_beside(&result, &output).unwrap();
        assert_eq!(fs::read_to_string(&output).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_failed_copy_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("reel.mp4");
        copy_beside(&folder.path().join("missing"), &output).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_bare_name_is_in_the_working_folder() {
        assert_eq!(folder_of(Path::new("reel.mp4")), Path::new("."));
        assert_eq!(folder_of(Path::new("out/reel.mp4")), Path::new("out"));
    }
}
