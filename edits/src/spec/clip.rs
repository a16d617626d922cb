//! The clip spec: a time range of a video as a file of its own.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::encoding::{self, Encoding};
use super::kind::{KindInfo, KindSpec};
use super::reader::{Errors, Object};
use super::time_range::{TimeRange, check_range};
use super::{SourceRef, SourceRule};
use crate::field_error::FieldError;
use crate::rational::seconds_from_f64;
use crate::source::SourceFacts;

/// A part of a video. Only `start` and `end` are required.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClipSpec {
    /// The marked clip it came from. Over HTTP that is enough: what is not said is taken from the clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    pub clip_id: Option<String>,
    /// The video; left out on the command line, where the input file is the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    pub video_id: Option<String>,
    /// Start in source seconds; 0 is the first displayed frame. Needed unless there is a `clip_id`.
    #[schema(required = false)]
    pub start: f64,
    /// End in source seconds; up to a frame past the video means its end. Needed unless there is a `clip_id`.
    #[schema(required = false)]
    pub end: f64,
    /// Copied or encoded.
    #[serde(default)]
    pub mode: ClipMode,
    /// How it is encoded, for `encode`.
    #[serde(default)]
    pub output: Encoding,
}

/// How a clip is taken out of its video.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClipMode {
    /// The packets as they are, from the keyframe at or before `start`; an edit list makes players start at `start`.
    #[default]
    Copy,
    /// Decoded and encoded again: exactly the frames from `start` to `end`.
    Encode,
}

impl ClipSpec {
    /// The source frames it holds: those with start <= PTS < end. Empty when no frame is.
    pub fn range(&self, source: &SourceFacts) -> Range<usize> {
        source.frames.between(seconds_from_f64(self.start), seconds_from_f64(self.end))
    }

    /// What is wrong with the request for this source; nothing for an unknown one.
    fn check_source(&self, source: Option<&SourceFacts>) -> Vec<FieldError> {
        let Some(source) = source else { return Vec::new() };
        let mut errors = check_range(self.start, self.end, source, "");
        if errors.is_empty() && self.range(source).is_empty() {
            let detail = format!("no frame of the video is between {} s and {} s", self.start, self.end);
            errors.push(FieldError::new("/end", "empty_range", detail));
        }
        errors
    }
}

impl KindInfo for ClipSpec {
    const ABOUT: &'static str = "Take a stretch out of the input, by copy or encoded again";
    const EXAMPLES: &'static str = r#"Examples:
  echo '{"start": 754.2, "end": 764.2}' > goal.json
  touchline render clip --input match.mp4 --spec goal.json --output goal.mp4
  echo '{"start": 754.2, "end": 764.2, "mode": "encode"}' > exact.json
  touchline render clip --input match.mp4 --spec exact.json --output exact.mp4

`copy` (default) takes the packets as they are, from the key frame before `start`, and hides what is too early with an
edit list; `encode` holds exactly the frames from `start` to before `end`."#;

    fn read(object: &mut Object, rule: SourceRule, errors: &mut Errors) -> Self {
        read(object, rule, errors)
    }
}

impl KindSpec for ClipSpec {
    fn sources(&self) -> Vec<Option<SourceRef<'_>>> {
        vec![self.video_id.as_deref().map(SourceRef::Video)]
    }

    fn set_source(&mut self, video: &str) {
        self.video_id = Some(video.to_owned());
    }

    fn check(&self, sources: &[Option<SourceFacts>]) -> Vec<FieldError> {
        self.check_source(sources.first().and_then(Option::as_ref))
    }

    /// A copy needs only its own part of the source, which may last for hours.
    fn read_range(&self) -> Option<(f64, f64)> {
        (self.mode == ClipMode::Copy).then_some((self.start, self.end))
    }
}

fn read(object: &mut Object, rule: SourceRule, errors: &mut Errors) -> ClipSpec {
    let clip_id = object.clip_id(rule, errors);
    let video_id = object.video_id(rule, errors);
    let range = TimeRange::read(object, errors);
    let mode = object.word("mode", &[("copy", ClipMode::Copy), ("encode", ClipMode::Encode)], errors);
    let output = encoding::read(object, errors);
    // A range that could not be read is judged no further: its stand-in is of one second.
    let (start, end) = range.good().unwrap_or((0.0, 1.0));
    ClipSpec { clip_id, video_id, start, end, mode: mode.or(ClipMode::Copy), output }
}
