//! Requests: what can be exported, read leniently and judged strictly.
//!
//! A request is wrong in two ways: by itself ([`parse`]) and for its sources ([`ExportSpec::check`]). Both report all
//! they find, so that ten mistakes are ten errors in one answer; [`FieldError::merge`] joins the two lists.
//! A kind is one file here: its JSON, its reader and its checks.

pub mod annotated;
pub mod clip;
pub mod detection;
mod document;
pub mod encoding;
pub mod framing;
pub mod marked;
pub mod overlay;
mod reader;
mod time_range;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::field_error::FieldError;
use crate::source::SourceFacts;
use annotated::AnnotatedSpec;
use clip::ClipSpec;
use detection::DetectionSpec;
use framing::FramingSpec;
use overlay::{OverlaySource, OverlaySpec};
use reader::{Errors, Given, Object};

/// One request to render something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExportSpec {
    /// Clips, cropped, upscaled and joined into a reel.
    Framing(FramingSpec),
    /// A spotlight and texts on a finished reel or a video.
    Overlay(OverlaySpec),
    /// Clips of one video, each with a card about it.
    Annotated(AnnotatedSpec),
    /// A time range of a video as a file of its own.
    Clip(ClipSpec),
    /// The persons in chosen frames of a video.
    Detection(DetectionSpec),
}

/// Where a request takes pictures from, by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceRef<'a> {
    /// An uploaded video.
    Video(&'a str),
    /// The result of a finished export.
    Export(&'a str),
}

/// Whether a request names its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceRule {
    /// Over HTTP: every clip names its video.
    Named,
    /// On the command line: the input file stands for every source, and ids are refused.
    Implied,
}

/// A request as far as it could be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// There whenever the kind is known; fields in `errors` have a harmless stand-in. Use it for
    /// [`ExportSpec::check`] even when there are errors, for anything else only when there are none.
    pub spec: Option<ExportSpec>,
    /// All that is wrong with the request by itself.
    pub errors: Vec<FieldError>,
}

/// Reads a request and reports everything that is wrong with it by itself: wrong types, missing and unknown fields,
/// numbers out of range, keyframes of the wrong aspect, segments with gaps.
pub fn parse(value: &Value, rule: SourceRule) -> Parsed {
    let mut errors = Errors::default();
    let spec = read(value, rule, &mut errors);
    Parsed { spec, errors: errors.into_list() }
}

fn read(value: &Value, rule: SourceRule, errors: &mut Errors) -> Option<ExportSpec> {
    let mut object = Object::open(value, String::new(), errors)?;
    let kind = match object.text("kind", 20, errors) {
        Given::Value(kind) => kind,
        Given::Broken => return None,
        Given::Absent => {
            errors.push("/kind", "required", format!("`kind` is missing: one of {}", ExportSpec::KINDS.join(", ")));
            return None;
        }
    };
    let spec = match kind.as_str() {
        "framing" => ExportSpec::Framing(framing::read::read(&mut object, rule, errors)),
        "overlay" => ExportSpec::Overlay(overlay::read::read(&mut object, rule, errors)),
        "annotated" => ExportSpec::Annotated(annotated::read(&mut object, rule, errors)),
        "clip" => ExportSpec::Clip(clip::read(&mut object, rule, errors)),
        "detection" => ExportSpec::Detection(detection::read(&mut object, rule, errors)),
        _ => {
            let known = ExportSpec::KINDS.join(", ");
            errors.push("/kind", "unknown_value", format!("`{kind}` cannot be exported: use one of {known}"));
            return None;
        }
    };
    object.close(errors);
    Some(spec)
}

impl ExportSpec {
    /// The kinds there are.
    pub const KINDS: [&'static str; 5] = ["framing", "overlay", "annotated", "clip", "detection"];

    /// The kind's name, as in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            ExportSpec::Framing(_) => "framing",
            ExportSpec::Overlay(_) => "overlay",
            ExportSpec::Annotated(_) => "annotated",
            ExportSpec::Clip(_) => "clip",
            ExportSpec::Detection(_) => "detection",
        }
    }

    /// Where the pictures come from, in the order [`ExportSpec::check`] wants their facts: one source a clip for a
    /// framing, one for any other kind; `None` where the request names none.
    pub fn sources(&self) -> Vec<Option<SourceRef<'_>>> {
        fn video(id: &Option<String>) -> Option<SourceRef<'_>> {
            id.as_deref().map(SourceRef::Video)
        }
        match self {
            ExportSpec::Framing(spec) => spec.clips.iter().map(|clip| video(&clip.video_id)).collect(),
            ExportSpec::Overlay(spec) => vec![spec.source.as_ref().map(|source| match source {
                OverlaySource::Export(id) => SourceRef::Export(id),
                OverlaySource::Video(id) => SourceRef::Video(id),
            })],
            ExportSpec::Annotated(spec) => vec![video(&spec.video_id)],
            ExportSpec::Clip(spec) => vec![video(&spec.video_id)],
            ExportSpec::Detection(spec) => vec![video(&spec.video_id)],
        }
    }

    /// Where in the request source `i` of [`ExportSpec::sources`] is named, as a JSON pointer.
    pub fn source_pointer(&self, i: usize) -> String {
        match self {
            ExportSpec::Framing(_) => format!("/clips/{i}/video_id"),
            ExportSpec::Overlay(spec) => match spec.source {
                Some(OverlaySource::Export(_)) => "/source/export_id".to_owned(),
                Some(OverlaySource::Video(_)) => "/source/video_id".to_owned(),
                None => "/source".to_owned(),
            },
            ExportSpec::Annotated(_) | ExportSpec::Clip(_) | ExportSpec::Detection(_) => "/video_id".to_owned(),
        }
    }

    /// Everything that is wrong with the request for these sources (in the order of [`ExportSpec::sources`]; `None`
    /// for an unknown one, about which nothing is said).
    ///
    /// Of an annotated compilation nothing is: a clip that its video does not have is left out with a warning, so
    /// that it does not lose the rest ([`crate::AnnotatedPlan`]).
    pub fn check(&self, sources: &[Option<SourceFacts>]) -> Vec<FieldError> {
        let first = sources.first().and_then(Option::as_ref);
        match self {
            ExportSpec::Framing(spec) => framing::check::check(spec, sources),
            ExportSpec::Overlay(spec) => overlay::check(spec, first),
            ExportSpec::Annotated(_) => Vec::new(),
            ExportSpec::Clip(spec) => spec.check(first),
            ExportSpec::Detection(spec) => spec.check(first),
        }
    }
}
