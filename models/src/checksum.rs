//! SHA-256 sums in lower-case hexadecimal, as the manifest writes them.

use crate::ModelError;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::Path;

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

/// Reads the model file at `path` if its sum is the `expected` one.
pub(crate) fn read_verified(path: &Path, expected: &str) -> Result<Vec<u8>, ModelError> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(ModelError::Missing { path: path.to_owned() });
        }
        read => read.map_err(ModelError::io("reading", path))?,
    };
    let actual = sha256(&bytes);
    if actual != expected {
        return Err(ModelError::Corrupt { path: path.to_owned(), expected: expected.to_owned(), actual });
    }
    Ok(bytes)
}
