//! Requests: what can be exported, read leniently and judged strictly.
//!
//! A request is wrong in two ways: by itself ([`parse`]) and for its sources ([`ExportSpec::check`]). Both report all
//! they find, so that ten mistakes are ten errors in one answer; [`FieldError::merge`] joins the two lists.
//! A kind is one file here: its JSON, its reader and its checks.

pub mod detection;
pub mod framing;
mod reader;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::field_error::FieldError;
use crate::source::SourceFacts;
use detection::DetectionSpec;
use framing::FramingSpec;
use reader::{Errors, Given, Object};

/// One request to render something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExportSpec {
    /// Clips, cropped, upscaled and joined into a reel.
    Framing(FramingSpec),
    /// The persons in chosen frames of a video.
    Detection(DetectionSpec),
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
    pub const KINDS: [&'static str; 2] = ["framing", "detection"];

    /// The kind's name, as in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            ExportSpec::Framing(_) => "framing",
            ExportSpec::Detection(_) => "detection",
        }
    }

    /// The video each source comes from, in the order [`ExportSpec::check`] wants their facts: one a clip for a
    /// framing, one for a detection; `None` where the request names none.
    pub fn video_ids(&self) -> Vec<Option<&str>> {
        match self {
            ExportSpec::Framing(spec) => spec.clips.iter().map(|clip| clip.video_id.as_deref()).collect(),
            ExportSpec::Detection(spec) => vec![spec.video_id.as_deref()],
        }
    }

    /// Where in the request source `i` of [`ExportSpec::video_ids`] is named, as a JSON pointer.
    pub fn video_pointer(&self, i: usize) -> String {
        match self {
            ExportSpec::Framing(_) => format!("/clips/{i}/video_id"),
            ExportSpec::Detection(_) => "/video_id".to_owned(),
        }
    }

    /// Everything that is wrong with the request for these sources (in the order of [`ExportSpec::video_ids`]; `None`
    /// for an unknown one, about which nothing is said), and what Touchline cannot do yet.
    pub fn check(&self, sources: &[Option<SourceFacts>]) -> Vec<FieldError> {
        match self {
            ExportSpec::Framing(spec) => framing::check::check(spec, sources),
            ExportSpec::Detection(spec) => spec.check(sources.first().and_then(Option::as_ref)),
        }
    }
}
