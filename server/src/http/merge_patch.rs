//! Merge patches (RFC 7396) as typed bodies: a value sets, `null` takes away, what is missing stays.

use serde::{Deserialize, Deserializer};

/// For a field of type `Option<Option<T>>`: tells a null from what is missing.
///
/// # Errors
/// When the value is neither null nor a `T`.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}
