//! The deployment's secret and the keys derived from it.
//!
//! One secret signs everything; each use gets its own key by HMAC over a label, so that a
//! signature made for one purpose never holds for another.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::Sha256;

/// The file in `data_dir` that holds a generated secret.
const SECRET_FILE: &str = "secret";

/// The shortest secret accepted, in bytes (RFC 7518 §3.2 asks HS256 for 256 bits).
const SHORTEST: usize = 32;

/// HMAC-SHA256 keys, one a purpose.
#[derive(Clone)]
pub struct Key([u8; 32]);

impl Key {
    /// Derives the key of `label` from the deployment's secret.
    pub fn derive(secret: &[u8], label: &str) -> Self {
        Self(mac_of(secret, label.as_bytes()))
    }

    /// The key's bytes, for libraries that sign by themselves.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        mac_of(&self.0, message)
    }

    /// Whether `signature` is this key's over `message`, in constant time.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        new_mac(&self.0).chain_update(message).verify_slice(signature).is_ok()
    }
}

fn new_mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn mac_of(key: &[u8], message: &[u8]) -> [u8; 32] {
    new_mac(key).chain_update(message).finalize().into_bytes().into()
}

/// `N` bytes from the operating system's generator.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).expect("the operating system provides random bytes");
    bytes
}

/// `N` random bytes as URL-safe text.
pub fn random_text<const N: usize>() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<N>())
}

/// The configured secret (the settings checked its length), or the one kept in `data_dir`, generated
/// with mode 0600 on the first start.
///
/// # Errors
/// When the file cannot be read or written, or holds too little.
pub fn load_or_create(configured: Option<&str>, data_dir: &Path) -> anyhow::Result<Vec<u8>> {
    if let Some(secret) = configured {
        return Ok(secret.as_bytes().to_vec());
    }
    let path = data_dir.join(SECRET_FILE);
    let secret = read_or_create(&path)
        .map_err(|error| anyhow::anyhow!("cannot read or create the secret {}: {error}", path.display()))?;
    anyhow::ensure!(
        secret.len() >= SHORTEST,
        "the secret {} is too short; remove it to have a new one made (every user logs in again)",
        path.display()
    );
    Ok(secret)
}

fn read_or_create(path: &Path) -> io::Result<Vec<u8>> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    // Written beside and linked into place, so that a crash leaves a whole secret or none.
    if !path.exists() {
        let draft = path.with_extension(format!("new-{}", std::process::id()));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
        file.write_all(random_text::<48>().as_bytes())?;
        file.sync_all()?;
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft)?;
        match linked {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    let mut file = fs::File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    }
    let mut secret = Vec::new();
    file.read_to_end(&mut secret)?;
    Ok(secret.trim_ascii().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_secret_is_private_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let first = load_or_create(None, dir.path()).unwrap();
        let second = load_or_create(None, dir.path()).unwrap();
        assert_eq!(first, second);
        assert!(first.len() >= SHORTEST);
        let mode = fs::metadata(dir.path().join(SECRET_FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn a_secret_file_with_too_little_in_it_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(SECRET_FILE), "short").unwrap();
        assert!(load_or_create(None, dir.path()).is_err());
    }

    #[test]
    fn keys_of_two_purposes_do_not_verify_each_other() {
        let links = Key::derive(b"secret", "links");
        let refresh = Key::derive(b"secret", "refresh");
        let signature = links.sign(b"message");
        assert!(links.verify(b"message", &signature));
        assert!(!links.verify(b"massage", &signature));
        assert!(!refresh.verify(b"message", &signature));
        assert!(!links.verify(b"message", &signature[..31]));
    }
}
