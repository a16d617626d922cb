//! Refresh tokens as clients hold them: a row's id, signed. The row holds the rest, so nothing that is stored could be
//! used as a token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use entities::TokenId;
use uuid::Uuid;

use super::secret::Key;

/// Bytes of the id before the signature.
const ID_BYTES: usize = 16;

/// Writes and reads refresh tokens.
#[derive(Clone)]
pub struct RefreshTokens {
    /// The current key first, then the previous one while secrets rotate.
    keys: Vec<Key>,
    life: TimeDelta,
}

impl RefreshTokens {
    /// Tokens signed by a key of `secret` that live `days`; those of `previous` can still be read.
    pub fn new(secret: &[u8], previous: Option<&[u8]>, days: u32) -> Self {
        let key = |secret| Key::derive(secret, "touchline refresh token v1");
        Self {
            keys: std::iter::once(secret).chain(previous).map(key).collect(),
            life: TimeDelta::days(i64::from(days)),
        }
    }

    /// When a token that is issued now ends.
    pub fn expires_at(&self) -> DateTime<Utc> {
        Utc::now() + self.life
    }

    /// The text of a token.
    pub fn write(&self, id: TokenId) -> String {
        let id = id.uuid();
        let mut token = id.as_bytes().to_vec();
        token.extend(self.keys[0].sign(id.as_bytes()));
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The id in a token that is ours.
    pub fn read(&self, token: &str) -> Option<TokenId> {
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (id, signature) = token.split_at_checked(ID_BYTES)?;
        let ours = self.keys.iter().any(|key| key.verify(id, signature));
        ours.then(|| Uuid::from_slice(id).ok().map(TokenId::from)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_survives_one_rotation_of_the_secret() {
        let id = TokenId::new();
        let old = RefreshTokens::new(b"old", None, 30);
        let token = old.write(id);
        assert_eq!(old.read(&token), Some(id));
        assert_eq!(RefreshTokens::new(b"new", Some(b"old"), 30).read(&token), Some(id));
        assert_eq!(RefreshTokens::new(b"new", None, 30).read(&token), None);
    }

    #[test]
    fn a_made_up_token_is_not_read() {
        let tokens = RefreshTokens::new(b"secret", None, 30);
        let mut forged = TokenId::new().uuid().as_bytes().to_vec();
        forged.extend([0; 32]);
        for token in [URL_SAFE_NO_PAD.encode(forged), String::new(), "?".into(), URL_SAFE_NO_PAD.encode([1, 2, 3])] {
            assert_eq!(tokens.read(&token), None, "{token:?}");
        }
    }
}
