//! The annotated spec: clips of one video, each with a card of notes about it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::encoding::{self, Encoding};
use super::kind::{KindInfo, KindSpec};
use super::reader::{Errors, Object, text};
use super::time_range::TimeRange;
use super::{SourceRef, SourceRule};

pub(super) const MAX_CLIPS: usize = 500;
const MAX_NAME: usize = 1000;
const MAX_NOTES: usize = 10_000;
const MAX_TAGS: usize = 50;
const MAX_TAG: usize = 200;

/// A compilation to render. Only `clips` is required, and in a clip `start` and `end`.
///
/// A clip that has no frame of the video (its range is empty, reversed or outside) is left out with a warning; see
/// [`crate::AnnotatedPlan`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnnotatedSpec {
    /// The video; left out on the command line, where the input file is the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    pub video_id: Option<String>,
    /// The clips in order, 1 to 500.
    #[schema(min_items = 1, max_items = 500)]
    pub clips: Vec<NotedClip>,
    /// How the compilation is encoded.
    #[serde(default)]
    pub output: Encoding,
}

/// A time range of the video and what is said about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotedClip {
    /// The marked clip it came from. Over HTTP that is enough: what is not said is taken from the clip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    pub clip_id: Option<String>,
    /// Start in source seconds; 0 is the first displayed frame. Needed unless there is a `clip_id`.
    #[schema(required = false)]
    pub start: f64,
    /// End in source seconds. Needed unless there is a `clip_id`.
    #[schema(required = false)]
    pub end: f64,
    /// What it is called, at most 1000 characters; empty: its rating and tags name it.
    #[serde(default)]
    #[schema(max_length = 1000)]
    pub name: String,
    /// What is said about it, at most 10 000 characters, of which the card shows 100.
    #[serde(default)]
    #[schema(max_length = 10_000)]
    pub notes: String,
    /// 1 (mental lapse) to 5 (brilliant).
    #[serde(default = "default_rating")]
    #[schema(minimum = 1, maximum = 5)]
    pub rating: u8,
    /// What it shows, at most 50, of at most 200 characters.
    #[serde(default)]
    #[schema(max_items = 50)]
    pub tags: Vec<String>,
}

/// Interesting.
const DEFAULT_RATING: u8 = 3;

fn default_rating() -> u8 {
    DEFAULT_RATING
}

impl Default for NotedClip {
    fn default() -> Self {
        let (name, notes) = (String::new(), String::new());
        Self { clip_id: None, start: 0.0, end: 0.0, name, notes, rating: DEFAULT_RATING, tags: Vec::new() }
    }
}

/// Nothing of it is checked against its source: a clip that the video does not have is left out with a warning, so that it
/// does not lose the rest ([`crate::AnnotatedPlan`]).
impl KindInfo for AnnotatedSpec {
    const ABOUT: &'static str = "Join clips of the input, each with a card that rates it";
    const EXAMPLES: &'static str = r#"Examples:
  echo '{"clips": [{"start": 12, "end": 17, "name": "Goal", "notes": "Far post", "rating": 5},
                   {"start": 40, "end": 44, "rating": 2, "tags": ["Pass"]}]}' > notes.json
  touchline render annotated --input match.mp4 --spec notes.json --output review.mp4

A clip that cannot be used is left out with a warning. Ratings: 5 !!, 4 !, 3 !? (default), 2 ?, 1 ??."#;

    fn read(object: &mut Object, rule: SourceRule, errors: &mut Errors) -> Self {
        read(object, rule, errors)
    }
}

impl KindSpec for AnnotatedSpec {
    fn sources(&self) -> Vec<Option<SourceRef<'_>>> {
        vec![self.video_id.as_deref().map(SourceRef::Video)]
    }

    fn set_source(&mut self, video: &str) {
        self.video_id = Some(video.to_owned());
    }
}

fn read(object: &mut Object, rule: SourceRule, errors: &mut Errors) -> AnnotatedSpec {
    let video_id = object.video_id(rule, errors);
    let clips = object.list("clips", MAX_CLIPS, errors);
    let clips = object.required("clips", clips, errors);
    if clips.is_empty_list() {
        errors.push(object.at("clips"), "too_few", "there are no clips; a compilation needs at least one");
    }
    let clips = clips.or(&[]).iter().enumerate().map(|(i, value)| {
        let fields = Object::open(value, object.at(&format!("clips/{i}")), errors);
        fields.map(|fields| read_clip(fields, rule, errors)).unwrap_or_default()
    });
    let clips = clips.collect();
    AnnotatedSpec { video_id, clips, output: encoding::read(object, errors) }
}

fn read_clip(mut fields: Object, rule: SourceRule, errors: &mut Errors) -> NotedClip {
    let clip_id = fields.clip_id(rule, errors);
    // An end before its start is no mistake of the request here: the plan leaves such a clip out.
    let range = TimeRange::read_ends(&mut fields, errors);
    let clip = NotedClip {
        clip_id,
        start: range.start.or(0.0),
        end: range.end.or(0.0),
        name: fields.text("name", MAX_NAME, errors).or(String::new()),
        notes: fields.text("notes", MAX_NOTES, errors).or(String::new()),
        rating: fields.whole("rating", 1..=5, errors).or(DEFAULT_RATING.into()) as u8,
        tags: read_tags(&mut fields, errors),
    };
    fields.close(errors);
    clip
}

fn read_tags(fields: &mut Object, errors: &mut Errors) -> Vec<String> {
    let tags = fields.list("tags", MAX_TAGS, errors).or(&[]).iter().enumerate();
    tags.filter_map(|(i, value)| text(value, fields.at(&format!("tags/{i}")), MAX_TAG, errors)).collect()
}
