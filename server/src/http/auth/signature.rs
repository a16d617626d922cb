//! Signatures of shared links: the link's id and its end, under a key of their own.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entities::LinkId;

use super::secret::Key;

/// Signs links and checks them.
#[derive(Clone)]
pub struct LinkSigner {
    current: Key,
    /// What the secret before the current one signed still holds.
    previous: Option<Key>,
}

impl LinkSigner {
    /// A signer whose keys come from the deployment's secrets.
    pub fn new(secret: &[u8], previous: Option<&[u8]>) -> Self {
        let key = |secret| Key::derive(secret, "touchline link v1");
        Self { current: key(secret), previous: previous.map(key) }
    }

    /// The signature of a link that ends at `expires`, in seconds since 1970, as text for a query string.
    pub fn sign(&self, link: LinkId, expires: i64) -> String {
        URL_SAFE_NO_PAD.encode(self.current.sign(&message(link, expires)))
    }

    /// Whether `signature` is ours for this link and end.
    pub fn verify(&self, link: LinkId, expires: i64, signature: &str) -> bool {
        let (Ok(signature), message) = (URL_SAFE_NO_PAD.decode(signature), message(link, expires)) else {
            return false;
        };
        std::iter::once(&self.current).chain(&self.previous).any(|key| key.verify(&message, &signature))
    }
}

fn message(link: LinkId, expires: i64) -> Vec<u8> {
    format!("{link}.{expires}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_link_end_and_secret_only() {
        let signer = LinkSigner::new(b"a secret", None);
        let (link, end) = (LinkId::new(), 1_900_000_000);
        let signature = signer.sign(link, end);
        assert!(signer.verify(link, end, &signature));
        assert!(!signer.verify(LinkId::new(), end, &signature));
        assert!(!signer.verify(link, end + 1, &signature));
        assert!(!LinkSigner::new(b"another", None).verify(link, end, &signature));
        assert!(LinkSigner::new(b"another", Some(b"a secret")).verify(link, end, &signature), "while secrets rotate");
        assert!(!signer.verify(link, end, ""));
        assert!(!signer.verify(link, end, "not base64!"));
    }
}
