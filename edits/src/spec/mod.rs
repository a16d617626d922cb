//! Requests: what can be exported, read leniently and judged strictly.
//!
//! A request is wrong in two ways: by itself ([`parse`]) and for its sources ([`ExportSpec::check`]). Both report all
//! they find, so that ten mistakes are ten errors in one answer; [`FieldError::merge`] joins the two lists.
//! A kind is one file here (its JSON, its reader and its checks) and one line in the list below.

pub mod annotated;
pub mod clip;
pub mod detection;
mod document;
pub mod encoding;
pub mod framing;
mod kind;
pub mod limits;
pub mod marked;
pub mod overlay;
mod reader;
mod time_range;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use crate::field_error::FieldError;
use crate::source::SourceFacts;
use annotated::AnnotatedSpec;
use clip::ClipSpec;
use detection::DetectionSpec;
use framing::FramingSpec;
pub use kind::ModelNeeds;
use kind::{KindInfo, KindSpec};
use overlay::OverlaySpec;
use reader::{Errors, Given, Object};

kind::kinds! {
    /// Clips, cropped, upscaled and joined into a reel.
    Framing(FramingSpec) = "framing",
    /// A spotlight and texts on a finished reel or a video.
    Overlay(OverlaySpec) = "overlay",
    /// Clips of one video, each with a card about it.
    Annotated(AnnotatedSpec) = "annotated",
    /// A time range of a video as a file of its own.
    Clip(ClipSpec) = "clip",
    /// The persons in chosen frames of a video.
    Detection(DetectionSpec) = "detection",
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
/// numbers out of range, keyframes of the wrong aspect, segments with gaps. The time it takes is linear in the length
/// of the request; the caller bounds that by [`limits::is_too_long`].
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
            errors.push("/kind", "required", format!("`kind` is missing: one of {}", kind_names()));
            return None;
        }
    };
    let Some(known) = ExportKind::ALL.iter().find(|known| known.name() == kind) else {
        let detail = format!("`{kind}` cannot be exported: use one of {}", kind_names());
        errors.push("/kind", "unknown_value", detail);
        return None;
    };
    let spec = ExportSpec::read_kind(*known, &mut object, rule, errors);
    object.close(errors);
    Some(spec)
}

fn kind_names() -> String {
    let names: Vec<_> = ExportKind::ALL.iter().map(|kind| kind.name()).collect();
    names.join(", ")
}

/// The name of a kind names no kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of export")]
pub struct UnknownKind(pub String);

impl FromStr for ExportKind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        let known = Self::ALL.iter().find(|kind| kind.name() == name);
        known.copied().ok_or_else(|| UnknownKind(name.to_owned()))
    }
}

impl fmt::Display for ExportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExportSpec {
    /// Where the pictures come from, in the order [`ExportSpec::check`] wants their facts: one source a clip for a
    /// framing, one for any other kind; `None` where the request names none.
    pub fn sources(&self) -> Vec<Option<SourceRef<'_>>> {
        self.of_kind().sources()
    }

    /// Makes `video` the source of everything in it.
    pub fn set_source(&mut self, video: &str) {
        self.of_kind_mut().set_source(video);
    }

    /// Where in the request source `i` of [`ExportSpec::sources`] is named, as a JSON pointer.
    pub fn source_pointer(&self, i: usize) -> String {
        self.of_kind().source_pointer(i)
    }

    /// Everything that is wrong with the request for these sources (in the order of [`ExportSpec::sources`]; `None`
    /// for an unknown one, of which nothing is checked).
    pub fn check(&self, sources: &[Option<SourceFacts>]) -> Vec<FieldError> {
        FieldError::capped(self.of_kind().check(sources))
    }

    /// The models that rendering it runs.
    pub fn models(&self) -> ModelNeeds<'_> {
        self.of_kind().models()
    }

    /// The seconds of its source that rendering reads; `None`: all of it.
    pub fn read_range(&self) -> Option<(f64, f64)> {
        self.of_kind().read_range()
    }
}
