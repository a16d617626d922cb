//! How a rendered video is encoded, where its size and rate are the source's.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::reader::{Errors, Object};

/// x264's presets, fastest first (`x264 --fullhelp`).
const PRESETS: [&str; 10] =
    ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"];

/// x264's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Encoding {
    /// x264's constant rate factor, 0 (lossless) to 51.
    #[schema(minimum = 0, maximum = 51)]
    pub crf: u8,
    /// x264's preset, `ultrafast` to `placebo`.
    pub preset: String,
}

impl Default for Encoding {
    fn default() -> Self {
        Self { crf: 23, preset: "fast".to_owned() }
    }
}

/// `crf` and `preset`, which stand among the other fields of an output.
pub(super) fn read_settings(fields: &mut Object, errors: &mut Errors) -> Encoding {
    let default = Encoding::default();
    let crf = fields.whole("crf", 0..=51, errors).or(default.crf.into()) as u8;
    let preset = fields.word("preset", &PRESETS.map(|preset| (preset, preset)), errors);
    Encoding { crf, preset: preset.ok().map_or(default.preset, str::to_owned) }
}

/// An `output` that has nothing but these settings.
pub(super) fn read(object: &mut Object, errors: &mut Errors) -> Encoding {
    let Some(mut fields) = object.object("output", errors).ok() else { return Encoding::default() };
    let encoding = read_settings(&mut fields, errors);
    fields.close(errors);
    encoding
}
