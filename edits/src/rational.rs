//! Exact time: why every second in this crate is a fraction.
//!
//! Frame `n` of a 29.97 fps reel is at exactly `n * 1001 / 30000` s. Sums of floats drift off such
//! values and pick a neighbouring frame now and then; fractions do not.

use num_rational::Ratio;
use num_traits::{CheckedAdd, CheckedMul};

/// An exact number, nearly always of seconds.
pub type Rat = Ratio<i128>;

/// Times in a request are at most this many seconds (eleven days), so that no sum can overflow.
pub const MAX_SECONDS: f64 = 1e6;

const NANOS: i128 = 1_000_000_000;
const MICROS: i128 = 1_000_000;

/// Denominators above this are rounded to nanoseconds: only dozens of unrelated speeds in one clip get there.
const MAX_DENOMINATOR: i128 = 1_000_000_000_000_000;

/// A JSON number of seconds as the decimal its writer meant, to the nanosecond: `12.1` is `121/10`.
///
/// Numbers that are not finite or beyond [`MAX_SECONDS`] are clamped; the parser has refused them before.
pub fn seconds_from_f64(seconds: f64) -> Rat {
    decimal(seconds, MAX_SECONDS, NANOS)
}

/// A JSON speed factor as the decimal its writer meant, to the millionth.
pub(crate) fn speed_from_f64(speed: f64) -> Rat {
    decimal(speed, 1000.0, MICROS)
}

fn decimal(value: f64, limit: f64, scale: i128) -> Rat {
    let value = if value.is_nan() { 0.0 } else { value.clamp(-limit, limit) };
    Rat::new((value * scale as f64).round() as i128, scale)
}

/// The nearest float.
pub fn to_f64(value: Rat) -> f64 {
    *value.numer() as f64 / *value.denom() as f64
}

/// The nearest integer, halves up.
pub fn round_half_up(value: Rat) -> i128 {
    // Not `floor(value + 1/2)`: doubling the numerator needs one bit where the sum needs the whole denominator.
    num_integer::Integer::div_floor(&(value.numer() * 2 + value.denom()), &(value.denom() * 2))
}

pub(crate) fn add(left: Rat, right: Rat) -> Rat {
    left.checked_add(&right).filter(is_small).unwrap_or_else(|| to_nanos(left) + to_nanos(right))
}

pub(crate) fn multiply(left: Rat, right: Rat) -> Rat {
    left.checked_mul(&right).filter(is_small).unwrap_or_else(|| to_nanos(left) * to_nanos(right))
}

fn is_small(value: &Rat) -> bool {
    *value.denom() <= MAX_DENOMINATOR
}

/// The value rounded to nanoseconds.
pub(crate) fn to_nanos(value: Rat) -> Rat {
    // Whole part apart, so that nothing beyond the denominator itself is multiplied.
    let (whole, rest) = num_integer::Integer::div_mod_floor(value.numer(), value.denom());
    let nanos = (rest as f64 / *value.denom() as f64 * NANOS as f64).round() as i128;
    Rat::new(whole * NANOS + nanos, NANOS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_read_as_the_decimals_they_stand_for() {
        assert_eq!(seconds_from_f64(12.1), Rat::new(121, 10));
        assert_eq!(seconds_from_f64(0.1 + 0.2), Rat::new(3, 10));
        assert_eq!(seconds_from_f64(f64::NAN), Rat::from(0));
        assert_eq!(seconds_from_f64(1e300), Rat::from(1_000_000));
    }

    #[test]
    fn halves_go_up() {
        assert_eq!(round_half_up(Rat::new(3, 2)), 2);
        assert_eq!(round_half_up(Rat::new(-3, 2)), -1);
        assert_eq!(round_half_up(Rat::new(149, 100)), 1);
    }

    #[test]
    fn huge_denominators_are_rounded_to_nanoseconds() {
        let awkward = Rat::new(1_000_000_000_000_000_001, 1_000_000_000_000_000_003);
        assert_eq!(add(awkward, Rat::new(1, 7)), Rat::from(1) + Rat::new(142_857_143, NANOS));
    }
}
