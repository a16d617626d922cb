//! Signatures of shared links: the link's id and its end, under a key of their own.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entities::LinkId;

use super::secret::Key;

/// Signs links and checks them.
#[derive(Clone)]
pub struct LinkSigner(Key);

impl LinkSigner {
    /// A signer whose key comes from the deployment's secret.
    pub fn new(secret: &[u8]) -> Self {
        Self(Key::derive(secret, "touchline link v1"))
    }

    /// The signature of a link that ends at `expires`, in seconds since 1970, as text for a query string.
    pub fn sign(&self, link: LinkId, expires: i64) -> String {
        URL_SAFE_NO_PAD.encode(self.0.sign(&message(link, expires)))
    }

    /// Whether `signature` is ours for this link and end.
    pub fn verify(&self, link: LinkId, expires: i64, signature: &str) -> bool {
        URL_SAFE_NO_PAD.decode(signature).is_ok_and(|signature| self.0.verify(&message(link, expires), &signature))
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
        let signer = LinkSigner::new(b"a secret");
        let (link, end) = (LinkId::new(), 1_900_000_000);
        let signature = signer.sign(link, end);
        assert!(signer.verify(link, end, &signature));
        assert!(!signer.verify(LinkId::new(), end, &signature));
        assert!(!signer.verify(link, end + 1, &signature));
        assert!(!LinkSigner::new(b"another").verify(link, end, &signature));
        assert!(!signer.verify(link, end, ""));
        assert!(!signer.verify(link, end, "not base64!"));
    }
}
