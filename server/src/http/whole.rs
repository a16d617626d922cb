//! Whole numbers as JSON Schema has them: 60.0 is one.

use serde::{Deserialize, Deserializer, de};
use serde_json::Number;

/// The greatest number below which a float distinguishes whole numbers, 2^53.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// For a field of type `Option<i64>` with a default.
///
/// # Errors
/// When the value is neither null nor a whole number that a float distinguishes from its neighbours.
pub fn whole<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(from)? else { return Ok(None) };
    let exact = |float: &f64| float.fract() == 0.0 && float.abs() <= EXACT;
    let whole = number.as_i64().or_else(|| number.as_f64().filter(exact).map(|float| float as i64));
    whole.map(Some).ok_or_else(|| de::Error::custom(format!("{number} is no whole number, or too large a one")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_float_without_a_fraction_is_whole() {
        let read = |text: &str| whole(&mut serde_json::Deserializer::from_str(text)).ok();
        assert_eq!(
            ["60", "60.0", "6e1", "-3.0", "null"].map(read),
            [60, 60, 60, -3, 0].map(|n| Some((n != 0).then_some(n)))
        );
        assert_eq!(["60.5", "1e300", "18446744073709551615", "\"60\"", "true"].map(read), [None; 5]);
    }
}
