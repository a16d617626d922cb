//! Merge patches (RFC 7396) as typed bodies: a value sets, `null` takes away, what is missing stays.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// For a field of type `Option<Option<T>>`: distinguishes null from a missing field.
///
/// # Errors
/// When the value is neither null nor a `T`.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// For a field that is an object: a list of its values by position, which a struct takes too, is none.
///
/// # Errors
/// When the value is no object, or not a `T`.
pub fn object<'de, T: DeserializeOwned, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let fields = Map::deserialize(from)?;
    serde_json::from_value(Value::Object(fields)).map_err(D::Error::custom)
}
