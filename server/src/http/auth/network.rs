//! The networks that users log in from, named so that rows do not reveal them.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entities::UserId;

use super::secret::Key;

/// Bytes of a name: enough that no two networks of a user share one.
const NAME_BYTES: usize = 16;

/// Names networks by a key: without it a name could be found again by hashing every address there is.
pub struct NetworkNames(Key);

impl NetworkNames {
    /// Names by a key of `secret`. With another secret every network is a new one.
    pub fn new(secret: &[u8]) -> Self {
        Self(Key::derive(secret, "touchline login network v1"))
    }

    /// The name of a network, another one for each user.
    pub fn of(&self, user: UserId, network: IpAddr) -> String {
        let name = self.0.sign(format!("{user} {network}").as_bytes());
        URL_SAFE_NO_PAD.encode(&name[..NAME_BYTES])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_one_user_one_network_and_one_secret() {
        let (names, ann) = (NetworkNames::new(b"a secret"), UserId::new());
        let (home, elsewhere) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        assert_eq!(names.of(ann, home), names.of(ann, home));
        for other in
            [names.of(ann, elsewhere), names.of(UserId::new(), home), NetworkNames::new(b"another").of(ann, home)]
        {
            assert_ne!(names.of(ann, home), other);
        }
    }
}
