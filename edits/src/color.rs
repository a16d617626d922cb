//! Colours: `#RRGGBB` in JSON.

use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A colour in 8-bit sRGB, written `#RRGGBB` as in CSS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rgb {
    /// Red.
    pub r: u8,
    /// Green.
    pub g: u8,
    /// Blue.
    pub b: u8,
}

/// The text was not `#RRGGBB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a colour is written #RRGGBB, with hexadecimal digits")]
pub struct ColorError;

impl Rgb {
    /// White.
    pub const WHITE: Self = Self::new(0xFF, 0xFF, 0xFF);
    /// Black.
    pub const BLACK: Self = Self::new(0, 0, 0);

    /// A colour of its three parts.
    pub const fn new(r: u8, g: u8, b: u8) -> Self {
        Self { r, g, b }
    }

    /// Every part times `factor` (0 to 1), rounded.
    pub fn scaled(self, factor: f64) -> Self {
        let part = |value: u8| (f64::from(value) * factor).round() as u8;
        Self { r: part(self.r), g: part(self.g), b: part(self.b) }
    }
}

impl FromStr for Rgb {
    type Err = ColorError;

    fn from_str(text: &str) -> Result<Self, ColorError> {
        let digits = text.strip_prefix('#').ok_or(ColorError)?;
        // `from_str_radix` alone would take a sign too.
        if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ColorError);
        }
        let number = u32::from_str_radix(digits, 16).map_err(|_| ColorError)?;
        let [_, r, g, b] = number.to_be_bytes();
        Ok(Self { r, g, b })
    }
}

impl fmt::Display for Rgb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:02X}{:02X}{:02X}", self.r, self.g, self.b)
    }
}

impl PartialSchema for Rgb {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).pattern(Some("^#[0-9A-Fa-f]{6}$")).build().into()
    }
}

impl ToSchema for Rgb {}

impl Serialize for Rgb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Rgb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_hexadecimal_digits_are_a_colour_and_nothing_else_is() {
        assert_eq!("#FFd54f".parse(), Ok(Rgb::new(255, 213, 79)));
        for bad in ["", "#", "FFD54F", "#FFF", "#FFD54", "#FFD54FF", "#+12345", "#GG0000", "#ééé", "red"] {
            assert_eq!(bad.parse::<Rgb>(), Err(ColorError), "{bad}");
        }
        assert_eq!(Rgb::new(1, 171, 255).to_string(), "#01ABFF");
        assert_eq!(Rgb::new(255, 213, 79).scaled(0.3), Rgb::new(77, 64, 24));
    }
}
