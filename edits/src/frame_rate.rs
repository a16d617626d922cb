//! Frame rates: exact fractions that people write as decimals.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::rational::Rat;

/// Frames a second, as a fraction in lowest terms: 30 is `30/1`, 29.97 is `30000/1001`.
///
/// In JSON it is a number. The NTSC rates are recognised by their usual spellings (23.976, 23.98, 29.97, 47.95,
/// 59.94, 119.88); any other number becomes the simplest fraction within a part in a billion of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameRate {
    /// Frames.
    pub num: u32,
    /// Seconds those frames take.
    pub den: u32,
}

impl FrameRate {
    /// `num / den` frames a second in lowest terms; `None` when either is zero.
    pub fn new(num: u32, den: u32) -> Option<Self> {
        if num == 0 || den == 0 {
            return None;
        }
        let divisor = num_integer::gcd(num, den);
        Some(Self { num: num / divisor, den: den / divisor })
    }

    /// The rate a decimal stands for; `None` unless it is positive and at most a million.
    pub fn from_f64(rate: f64) -> Option<Self> {
        if !(rate > 0.0 && rate <= 1e6) {
            return None;
        }
        ntsc(rate).or_else(|| simplest(rate))
    }

    /// The exact rate, in frames a second.
    pub fn as_rat(self) -> Rat {
        Rat::new(self.num.into(), self.den.into())
    }

    /// The nearest float, in frames a second.
    pub fn as_f64(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }

    /// The exact length of `frames` frames, in seconds.
    pub fn seconds(self, frames: u64) -> Rat {
        Rat::from(i128::from(frames)) / self.as_rat()
    }
}

/// The NTSC rates are 1000/1001 of a nominal one (SMPTE 12M); two decimals distinguish them.
fn ntsc(rate: f64) -> Option<FrameRate> {
    const NOMINAL: [u32; 5] = [24, 30, 48, 60, 120];
    let close = |nominal: &&u32| (rate - f64::from(**nominal) / 1.001).abs() < 0.005;
    NOMINAL.iter().find(close).and_then(|nominal| FrameRate::new(nominal * 1000, 1001))
}

/// Continued fraction expansion, stopped at the first convergent that is the number to a part in a billion.
fn simplest(rate: f64) -> Option<FrameRate> {
    let (mut before, mut last) = ((0_u64, 1_u64), (1_u64, 0_u64));
    let mut rest = rate;
    loop {
        let whole = rest.floor();
        let next = (whole as u64 * last.0 + before.0, whole as u64 * last.1 + before.1);
        let (num, den) = (u32::try_from(next.0).ok()?, u32::try_from(next.1).ok()?);
        if (f64::from(num) / f64::from(den) - rate).abs() <= rate * 1e-9 {
            return FrameRate::new(num, den);
        }
        (before, last) = (last, next);
        rest = 1.0 / (rest - whole);
    }
}

impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.den {
            1 => write!(f, "{}", self.num),
            _ => write!(f, "{:.3}", self.as_f64()),
        }
    }
}

impl PartialSchema for FrameRate {
    fn schema() -> RefOr<Schema> {
        f64::schema()
    }
}

impl ToSchema for FrameRate {}

impl Serialize for FrameRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.den {
            1 => serializer.serialize_u32(self.num),
            _ => serializer.serialize_f64(self.as_f64()),
        }
    }
}

impl<'de> Deserialize<'de> for FrameRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rate = f64::deserialize(deserializer)?;
        FrameRate::from_f64(rate).ok_or_else(|| D::Error::custom(format!("{rate} is no frame rate")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(num: u32, den: u32) -> Option<FrameRate> {
        FrameRate::new(num, den)
    }

    #[test]
    fn decimals_become_the_rates_people_mean() {
        for (decimal, expected) in [
            (30.0, rate(30, 1)),
            (25.0, rate(25, 1)),
            (24.0, rate(24, 1)),
            (23.976, rate(24000, 1001)),
            (23.98, rate(24000, 1001)),
            (29.97, rate(30000, 1001)),
            (59.94, rate(60000, 1001)),
            (119.88, rate(120_000, 1001)),
            (12.5, rate(25, 2)),
            (25.0 / 3.0, rate(25, 3)),
        ] {
            assert_eq!(FrameRate::from_f64(decimal), expected, "{decimal}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(FrameRate::from_f64(bad), None, "{bad}");
        }
        assert_eq!(FrameRate::from_f64(1e-300), None);
        assert!(serde_json::from_str::<FrameRate>("0").is_err());
    }

    #[test]
    fn json_keeps_the_exact_rate() {
        for (num, den) in [(30, 1), (30000, 1001), (25, 2), (25, 3), (12345, 421)] {
            let before = FrameRate::new(num, den).expect("not zero");
            let text = serde_json::to_string(&before).expect("a number");
            assert_eq!(serde_json::from_str::<FrameRate>(&text).expect("a rate"), before, "{text}");
        }
        assert_eq!(serde_json::to_string(&FrameRate { num: 30, den: 1 }).expect("a number"), "30");
    }
}
