//! How values cross from one process to another that serde cannot derive: for `#[serde(with = ...)]`.
//!
//! Both ends are the same program, so a value of a list goes by its place in it.

use edits::FrameRate;
use ffmpeg_next::color::{Primaries, Range, Space, TransferCharacteristic};
use ffmpeg_next::util::chroma::Location;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::shape::ColourTags;

/// A name of [`PROFILES`]. An alias, because serde takes a field of type `&'static str` for borrowed from its input.
pub(crate) type Profile = &'static str;

/// H.264 profiles that x264 is asked for.
const PROFILES: [&str; 3] = ["baseline", "main", "high"];

const SPACES: [Space; 15] = [
    Space::Unspecified,
    Space::RGB,
    Space::BT709,
    Space::Reserved,
    Space::FCC,
    Space::BT470BG,
    Space::SMPTE170M,
    Space::SMPTE240M,
    Space::YCGCO,
    Space::BT2020NCL,
    Space::BT2020CL,
    Space::SMPTE2085,
    Space::ChromaDerivedNCL,
    Space::ChromaDerivedCL,
    Space::ICTCP,
];
const RANGES: [Range; 3] = [Range::Unspecified, Range::MPEG, Range::JPEG];
const PRIMARIES: [Primaries; 14] = [
    Primaries::Unspecified,
    Primaries::Reserved0,
    Primaries::BT709,
    Primaries::Reserved,
    Primaries::BT470M,
    Primaries::BT470BG,
    Primaries::SMPTE170M,
    Primaries::SMPTE240M,
    Primaries::Film,
    Primaries::BT2020,
    Primaries::SMPTE428,
    Primaries::SMPTE431,
    Primaries::SMPTE432,
    Primaries::EBU3213,
];
const TRANSFERS: [TransferCharacteristic; 19] = [
    TransferCharacteristic::Unspecified,
    TransferCharacteristic::Reserved0,
    TransferCharacteristic::BT709,
    TransferCharacteristic::Reserved,
    TransferCharacteristic::GAMMA22,
    TransferCharacteristic::GAMMA28,
    TransferCharacteristic::SMPTE170M,
    TransferCharacteristic::SMPTE240M,
    TransferCharacteristic::Linear,
    TransferCharacteristic::Log,
    TransferCharacteristic::LogSqrt,
    TransferCharacteristic::IEC61966_2_4,
    TransferCharacteristic::BT1361_ECG,
    TransferCharacteristic::IEC61966_2_1,
    TransferCharacteristic::BT2020_10,
    TransferCharacteristic::BT2020_12,
    TransferCharacteristic::SMPTE2084,
    TransferCharacteristic::SMPTE428,
    TransferCharacteristic::ARIB_STD_B67,
];
const LOCATIONS: [Location; 7] = [
    Location::Unspecified,
    Location::Left,
    Location::Center,
    Location::TopLeft,
    Location::Top,
    Location::BottomLeft,
    Location::Bottom,
];

/// The place of a value in its list; the first, `Unspecified`, for one that is not in it.
fn place<T: PartialEq>(list: &[T], value: &T) -> u8 {
    list.iter().position(|known| known == value).unwrap_or(0) as u8
}

fn at<T: Copy, E: Error>(list: &[T], place: u8) -> Result<T, E> {
    list.get(usize::from(place)).copied().ok_or_else(|| E::custom(format!("there is no value {place}")))
}

impl Serialize for ColourTags {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let Self { matrix, range, primaries, transfer, siting } = self;
        let tags = [
            place(&SPACES, matrix),
            place(&RANGES, range),
            place(&PRIMARIES, primaries),
            place(&TRANSFERS, transfer),
            place(&LOCATIONS, siting),
        ];
        tags.serialize(to)
    }
}

impl<'de> Deserialize<'de> for ColourTags {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let [matrix, range, primaries, transfer, siting] = <[u8; 5]>::deserialize(from)?;
        Ok(Self {
            matrix: at(&SPACES, matrix)?,
            range: at(&RANGES, range)?,
            primaries: at(&PRIMARIES, primaries)?,
            transfer: at(&TRANSFERS, transfer)?,
            siting: at(&LOCATIONS, siting)?,
        })
    }
}

/// A frame rate as its fraction: its own form, a decimal, is made for JSON.
pub mod frame_rate {
    use super::*;

    pub fn serialize<S: Serializer>(rate: &FrameRate, to: S) -> Result<S::Ok, S::Error> {
        (rate.num, rate.den).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<FrameRate, D::Error> {
        let (num, den) = Deserialize::deserialize(from)?;
        FrameRate::new(num, den).ok_or_else(|| D::Error::custom("a frame rate of nothing"))
    }
}

/// The name of an H.264 profile.
pub mod profile {
    use super::*;

    pub fn serialize<S: Serializer>(profile: &Profile, to: S) -> Result<S::Ok, S::Error> {
        place(&PROFILES, profile).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Profile, D::Error> {
        at(&PROFILES, u8::deserialize(from)?)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use serde::de::DeserializeOwned;

    use super::*;
    use crate::colour;
    use crate::shape::StreamShape;
    use crate::timed::{Matched, TimedSettings};

    fn crosses<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
        let bytes = postcard::to_allocvec(value).unwrap();
        assert_eq!(postcard::from_bytes::<T>(&bytes).as_ref(), Ok(value));
    }

    fn shape() -> StreamShape {
        StreamShape {
            width: 1280,
            height: 720,
            time_base: (1, 90_000),
            rate: FrameRate { num: 30_000, den: 1001 },
            colour: ColourTags { siting: Location::TopLeft, range: Range::JPEG, ..ColourTags::BT709 },
            matrix: colour::Matrix::Bt601,
            range: colour::Range::Full,
            not_plain: Some("it is rotated".to_owned()),
        }
    }

    #[test]
    fn what_an_encoder_needs_crosses_as_it_is() {
        crosses(&shape());
        for profile in PROFILES {
            let matched = Matched {
                profile,
                level: 41,
                sps_id: 1,
                references: Some(4),
                reorder: 2,
                cabac: true,
                tick: Some((1, 60)),
                fixed_rate: true,
            };
            crosses(&TimedSettings { matched: Some(matched), ..TimedSettings::of(&shape(), 20, "fast") });
        }
    }

    #[test]
    fn every_tag_crosses_and_others_are_refused() {
        for matrix in SPACES {
            crosses(&ColourTags { matrix, ..ColourTags::BT709 });
        }
        for transfer in TRANSFERS {
            crosses(&ColourTags { transfer, ..ColourTags::BT709 });
        }
        assert!(postcard::from_bytes::<ColourTags>(&[0, 0, 0, 0, 7]).is_err());
        assert!(postcard::from_bytes::<ColourTags>(&[0, 3, 0, 0, 0]).is_err());
    }
}
