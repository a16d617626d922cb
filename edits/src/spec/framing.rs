//! The framing spec: clips, cropped along a path, upscaled and joined into one reel.

pub(crate) mod check;
pub(in crate::spec) mod read;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::kind::{KindInfo, KindSpec, ModelNeeds};
use super::reader::{Errors, Object};
use super::{SourceRef, SourceRule};
use crate::crop::CropKeyframe;
use crate::field_error::FieldError;
use crate::frame_rate::FrameRate;
use crate::quality::Quality;
use crate::source::SourceFacts;

/// A reel to render. Only `clips` is required, and in a clip `start` and `end`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FramingSpec {
    /// The clips in order, 1 to 200.
    #[schema(min_items = 1, max_items = 200)]
    pub clips: Vec<ClipEdit>,
    /// The reel's size, frame rate and encoding.
    #[serde(default)]
    pub output: Output,
    /// How small crops become large pictures.
    #[serde(default)]
    pub upscale: Upscale,
    /// How one clip follows the other.
    #[serde(default)]
    pub transition: Transition,
    /// The frames that person detection runs on.
    #[serde(default)]
    pub detect: Detect,
}

/// A time range of a video and what is done to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClipEdit {
    /// The marked clip it came from. Over HTTP that is enough: what is not said is taken from the clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    pub clip_id: Option<String>,
    /// The source video; left out on the command line, where the input file is the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    pub video_id: Option<String>,
    /// What the clip is called, at most 200 characters.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub name: String,
    /// Start in source seconds; 0 is the first displayed frame. Needed unless there is a `clip_id`.
    #[schema(required = false)]
    pub start: f64,
    /// End in source seconds. Needed unless there is a `clip_id`.
    #[schema(required = false)]
    pub end: f64,
    /// Crop keyframes, times rising, at most 2000; none: the largest centred crop.
    #[serde(default)]
    #[schema(max_items = 2000)]
    pub crop: Vec<CropKeyframe>,
    /// Degrees counter-clockwise about the frame's centre, before the crop, -45 to 45.
    #[serde(default)]
    #[schema(minimum = -45, maximum = 45)]
    pub rotation: f64,
    /// What to keep of the clip, in source seconds from its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trim: Option<Trim>,
    /// Stretches of other speeds, together exactly what is left after `trim`, at most 200; none: all at speed 1.
    #[serde(default)]
    #[schema(max_items = 200)]
    pub segments: Vec<SpeedSegment>,
}

/// The part of a clip that is kept, in source seconds from the clip's start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Trim {
    /// Where the kept part begins.
    pub start: f64,
    /// Where it ends.
    pub end: f64,
}

/// A stretch of a clip at one speed, in source seconds from the clip's start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SpeedSegment {
    /// Where it begins: where the one before it ends.
    pub start: f64,
    /// Where it ends.
    pub end: f64,
    /// Source seconds per output second, 0.1 to 8; 0.5 is slow motion.
    #[schema(minimum = 0.1, maximum = 8)]
    pub speed: f64,
}

/// The reel's shape and encoding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Output {
    /// Width in pixels, even, 16 to 4096.
    #[schema(minimum = 16, maximum = 4096, multiple_of = 2)]
    pub width: u32,
    /// Height in pixels, even, 16 to 4096.
    #[schema(minimum = 16, maximum = 4096, multiple_of = 2)]
    pub height: u32,
    /// Frames a second, 1 to 120.
    pub fps: FrameRate,
    /// x264's constant rate factor, 0 (lossless) to 51.
    #[schema(minimum = 0, maximum = 51)]
    pub crf: u8,
    /// x264's preset, `ultrafast` to `placebo`.
    pub preset: String,
}

impl Default for Output {
    fn default() -> Self {
        Self { width: 810, height: 1440, fps: FrameRate { num: 30, den: 1 }, crf: 23, preset: "fast".to_owned() }
    }
}

/// How a crop smaller than the output becomes as large as it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Upscale {
    /// With a model, or by resampling alone.
    pub mode: UpscaleMode,
    /// A model's name, or `auto` for the deployment's.
    pub model: String,
    /// How much the model is fed.
    pub quality: Quality,
    /// How much of what the model lost is added back, 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub fidelity: f64,
}

impl Default for Upscale {
    fn default() -> Self {
        Self { mode: UpscaleMode::Ai, model: "auto".to_owned(), quality: Quality::Auto, fidelity: 0.5 }
    }
}

/// What upscales.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpscaleMode {
    /// A super-resolution model, then Lanczos to the exact size.
    Ai,
    /// Lanczos resampling alone.
    Lanczos,
}

/// How one clip follows the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Transition {
    /// What is seen.
    pub kind: TransitionKind,
    /// How long it takes, in seconds, 0 to 10; a cut takes no time.
    #[schema(minimum = 0, maximum = 10)]
    pub duration: f64,
}

impl Default for Transition {
    fn default() -> Self {
        Self { kind: TransitionKind::Cut, duration: 0.5 }
    }
}

/// The kinds of transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransitionKind {
    /// The next clip begins where the last one ends.
    Cut,
    /// Through black.
    Fade,
    /// One clip into the other.
    Dissolve,
}

/// The frames of the reel that person detection runs on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Detect {
    /// At which times.
    pub rule: DetectRule,
    /// From which confidence a box is worth showing, 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub confidence: f64,
}

impl Default for Detect {
    fn default() -> Self {
        Self { rule: DetectRule::Opening, confidence: 0.5 }
    }
}

/// At which times of the reel person detection runs: `"opening"`, `"none"` or `{"every": seconds}`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DetectRule {
    /// Four points in the first two seconds of each clip.
    Opening,
    /// Nowhere.
    None,
    /// Every so many seconds of the reel, from its start, 0.01 to 3600.
    Every(f64),
}

impl KindInfo for FramingSpec {
    const ABOUT: &'static str = "Frame and upscale clips into one MP4";
    const EXAMPLES: &'static str = r#"Examples:
  echo '{"kind": "framing", "clips": [{"start": 12, "end": 15}]}' > reel.json
  touchline render framing --input match.mp4 --spec reel.json --output reel.mp4
  touchline render framing --input match.mp4 --spec reel.json --output reel.mp4 --devices cpu:0,cpu:1

Only `clips` with `start` and `end` are required: the largest centred 9:16 crop is upscaled to 810x1440."#;

    fn read(object: &mut Object, rule: SourceRule, errors: &mut Errors) -> Self {
        read::read(object, rule, errors)
    }
}

impl KindSpec for FramingSpec {
    /// One a clip.
    fn sources(&self) -> Vec<Option<SourceRef<'_>>> {
        self.clips.iter().map(|clip| clip.video_id.as_deref().map(SourceRef::Video)).collect()
    }

    fn set_source(&mut self, video: &str) {
        self.clips.iter_mut().for_each(|clip| clip.video_id = Some(video.to_owned()));
    }

    fn source_pointer(&self, i: usize) -> String {
        format!("/clips/{i}/video_id")
    }

    fn check(&self, sources: &[Option<SourceFacts>]) -> Vec<FieldError> {
        check::check(self, sources)
    }

    fn models(&self) -> ModelNeeds<'_> {
        ModelNeeds {
            upscaler: (self.upscale.mode == UpscaleMode::Ai).then_some(&*self.upscale.model),
            quality: Some(self.upscale.quality),
            detector: self.detect.rule != DetectRule::None,
        }
    }
}
