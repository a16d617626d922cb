//! Passwords, kept as Argon2id PHC strings.

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};

/// The shortest password accepted, in characters.
pub const SHORTEST: usize = 8;

/// The longest password accepted, in bytes; bounds what a request can make us hash.
pub const LONGEST: usize = 1024;

/// A hash of no known password, with the parameters of [`hash`]: verifying against it makes an unknown address take as
/// long as a known one. A constant, because making one would double the time of the first such login.
const DUMMY_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$dG91Y2hsaW5lLWR1bW15IQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a password is refused when an account is made.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Fewer than [`SHORTEST`] characters.
    #[error("the password has fewer than {SHORTEST} characters")]
    TooShort,
    /// More than [`LONGEST`] bytes.
    #[error("the password has more than {LONGEST} bytes")]
    TooLong,
    /// Argon2 failed.
    #[error("the password could not be hashed: {0}")]
    Hash(String),
}

/// Hashes a password with Argon2id and a random salt; takes tens of milliseconds and 19 MiB, so it
/// belongs on a thread of [`super::hashing`].
///
/// # Errors
/// When the password is too short or too long.
pub fn hash(password: &str) -> Result<String, PasswordError> {
    if password.chars().count() < SHORTEST {
        return Err(PasswordError::TooShort);
    }
    if password.len() > LONGEST {
        return Err(PasswordError::TooLong);
    }
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| PasswordError::Hash(error.to_string()))
}

/// Whether `password` belongs to `hash` (a PHC string). `None` stands for an unknown account: the
/// answer is no, after the same work.
pub fn matches(password: &str, hash: Option<&str>) -> bool {
    if password.len() > LONGEST {
        return false;
    }
    let Ok(parsed) = PasswordHash::new(hash.unwrap_or(DUMMY_HASH)) else {
        return false;
    };
    Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok() && hash.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_matches_its_own_hash_only() {
        let stored = hash("correct horse").unwrap();
        assert!(stored.starts_with("$argon2id$"));
        assert!(matches("correct horse", Some(&stored)));
        assert!(!matches("battery staple", Some(&stored)));
        assert!(!matches("correct horse", None));
        assert_ne!(stored, hash("correct horse").unwrap(), "salts differ");
    }

    #[test]
    fn an_unknown_account_takes_the_work_of_a_known_one() {
        let parameters = |hash: &str| hash.rsplitn(3, '$').nth(2).map(str::to_owned);
        assert_eq!(parameters(DUMMY_HASH), parameters(&hash("correct horse").unwrap()));
        let (dummy, made) = (PasswordHash::new(DUMMY_HASH).unwrap(), hash("correct horse").unwrap());
        let made = PasswordHash::new(&made).unwrap();
        let lengths = |hash: &PasswordHash| {
            (hash.salt.as_ref().map(|salt| salt.len()), hash.hash.as_ref().map(|output| output.len()))
        };
        assert_eq!(lengths(&dummy), lengths(&made));
    }

    #[test]
    fn absurd_lengths_are_refused() {
        assert!(matches!(hash("seven77"), Err(PasswordError::TooShort)));
        assert!(matches!(hash(&"x".repeat(LONGEST + 1)), Err(PasswordError::TooLong)));
    }
}
