//! The overlay spec: a spotlight that follows a player, and texts, on a finished reel or a video.

mod check;
mod read;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::encoding::Encoding;
use super::kind::{KindInfo, KindSpec};
use super::reader::{Errors, Object};
use super::{SourceRef, SourceRule};
use crate::color::Rgb;
use crate::field_error::FieldError;
use crate::source::SourceFacts;

/// What is drawn on a video. Nothing is required but the source; without regions and texts the file is copied.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OverlaySpec {
    /// What is drawn on; left out on the command line, where the input file is the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<OverlaySource>,
    /// What the spotlight does to the picture.
    #[serde(default)]
    pub effect: Effect,
    /// The spotlight's shape.
    #[serde(default)]
    pub shape: Shape,
    /// How strongly it is drawn.
    #[serde(default)]
    pub style: SpotStyle,
    /// When and where there is a spotlight; they do not overlap; at most 500, with less than 10 000 keyframes in all.
    #[serde(default)]
    pub regions: Vec<Region>,
    /// Lines of text, drawn in this order over everything else, at most 200.
    #[serde(default)]
    pub texts: Vec<TextEdit>,
    /// How the stretches that change are encoded.
    #[serde(default)]
    pub output: Encoding,
}

/// What an overlay is drawn on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum OverlaySource {
    /// The result of a finished export, by its id, a UUID.
    #[serde(rename = "export_id")]
    Export(String),
    /// A video, by its id, a UUID.
    #[serde(rename = "video_id")]
    Video(String),
}

/// What a spotlight does to the picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Everything outside it is multiplied by 1 - dim.
    #[default]
    DarkOverlay,
    /// Everything inside it is multiplied by 1 + dim.
    BrightnessBoost,
    /// Nothing: only its outline is drawn.
    None,
}

/// The shape of a spotlight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// The ellipse of the keyframes, around the player.
    #[default]
    Ellipse,
    /// A flat ellipse at the player's feet, always filled, open at the back.
    Ground,
}

/// How strongly a spotlight is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SpotStyle {
    /// Width of the stroke in pixels of a video of 1080 lines, 0 to 200; never drawn thinner than 2 pixels.
    pub stroke_width: f64,
    /// Whether the ellipse is filled with its colour.
    pub fill: bool,
    /// Strength of the effect, 0 to 1.
    pub dim: f64,
}

impl Default for SpotStyle {
    fn default() -> Self {
        Self { stroke_width: 2.0, fill: false, dim: 0.15 }
    }
}

/// A stretch of time with one spotlight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Start in seconds of the input.
    pub start: f64,
    /// End in seconds of the input.
    pub end: f64,
    /// The pixel space of the keyframes; left out: the input's own size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<Space>,
    /// Where the spotlight is, times rising, at most 2000; none: it is not drawn.
    #[serde(default)]
    pub keyframes: Vec<SpotKeyframe>,
}

/// The size of the picture that coordinates were written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Space {
    /// Width in pixels, 1 to 16384.
    pub width: u32,
    /// Height in pixels, 1 to 16384.
    pub height: u32,
}

/// The spotlight at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SpotKeyframe {
    /// Seconds of the input.
    pub time: f64,
    /// Horizontal centre.
    pub x: f64,
    /// Vertical centre.
    pub y: f64,
    /// Half the width, above 0.
    pub radius_x: f64,
    /// Half the height, above 0.
    pub radius_y: f64,
    /// Colour of stroke and fill until the next keyframe.
    #[serde(default = "default_color")]
    pub color: Rgb,
    /// Opacity of the stroke; clamped to 0 to 1 when drawn.
    #[serde(default = "default_stroke_opacity")]
    pub stroke_opacity: f64,
    /// Opacity of the fill; clamped to 0 to 1 when drawn.
    #[serde(default = "default_fill_opacity")]
    pub fill_opacity: f64,
}

/// Amber.
const DEFAULT_COLOR: Rgb = Rgb::new(0xFF, 0xD5, 0x4F);
const DEFAULT_STROKE_OPACITY: f64 = 0.85;
const DEFAULT_FILL_OPACITY: f64 = 0.05;

fn default_color() -> Rgb {
    DEFAULT_COLOR
}

fn default_stroke_opacity() -> f64 {
    DEFAULT_STROKE_OPACITY
}

fn default_fill_opacity() -> f64 {
    DEFAULT_FILL_OPACITY
}

/// A line of text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TextEdit {
    /// What it says, at most 500 characters.
    pub text: String,
    /// Start in seconds of the input.
    pub start: f64,
    /// End in seconds of the input.
    pub end: f64,
    /// Horizontal centre, 0 (left edge) to 1 (right edge).
    pub x: f64,
    /// Vertical centre, 0 (top edge) to 1 (bottom edge).
    pub y: f64,
    /// Size of the letters in pixels of a video of 1080 lines, 1 to 1000.
    #[serde(default = "default_size")]
    pub size: f64,
    /// Their colour.
    #[serde(default = "default_text_color")]
    pub color: Rgb,
}

const DEFAULT_SIZE: f64 = 48.0;

fn default_size() -> f64 {
    DEFAULT_SIZE
}

fn default_text_color() -> Rgb {
    Rgb::WHITE
}

impl KindInfo for OverlaySpec {
    const ABOUT: &'static str = "Put a spotlight on a player, and texts; what is not drawn on is copied";
    const EXAMPLES: &'static str = r#"Examples:
  echo '{"regions": [{"start": 1, "end": 3, "keyframes": [
    {"time": 1, "x": 300, "y": 700, "radius_x": 60, "radius_y": 110},
    {"time": 3, "x": 420, "y": 690, "radius_x": 62, "radius_y": 112}]}]}' > spotlight.json
  touchline render overlay --input reel.mp4 --spec spotlight.json --output lit.mp4
  echo '{"texts": [{"text": "Nr. 7", "start": 0, "end": 2, "x": 0.5, "y": 0.1}]}' > text.json
  touchline render overlay --input reel.mp4 --spec text.json --output named.mp4

Effects: dark_overlay (default), brightness_boost, none. Shapes: ellipse (default), ground. Only the stretches between
IDR pictures that change are encoded again; the report's `smart_render` gives their number, or why it was all."#;

    fn read(object: &mut Object, rule: SourceRule, errors: &mut Errors) -> Self {
        read::read(object, rule, errors)
    }
}

impl KindSpec for OverlaySpec {
    fn sources(&self) -> Vec<Option<SourceRef<'_>>> {
        vec![self.source.as_ref().map(|source| match source {
            OverlaySource::Export(id) => SourceRef::Export(id),
            OverlaySource::Video(id) => SourceRef::Video(id),
        })]
    }

    fn set_source(&mut self, video: &str) {
        self.source = Some(OverlaySource::Video(video.to_owned()));
    }

    fn source_pointer(&self, _: usize) -> String {
        match self.source {
            Some(OverlaySource::Export(_)) => "/source/export_id".to_owned(),
            Some(OverlaySource::Video(_)) => "/source/video_id".to_owned(),
            None => "/source".to_owned(),
        }
    }

    fn check(&self, sources: &[Option<SourceFacts>]) -> Vec<FieldError> {
        check::check(self, sources.first().and_then(Option::as_ref))
    }
}
