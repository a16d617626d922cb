//! The detection spec: the persons in chosen frames of a video.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::kind::{KindInfo, KindSpec, ModelNeeds};
use super::reader::{Errors, Given, Object, number};
use super::{SourceRef, SourceRule};
use crate::field_error::FieldError;
use crate::rational::{MAX_SECONDS, Rat, seconds_from_f64, to_f64};
use crate::source::SourceFacts;

const MAX_TIMES: usize = 10_000;
const DEFAULT_CONFIDENCE: f64 = 0.5;

/// Frames to run detection on: `times` or `every`, exactly one of the two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DetectionSpec {
    /// The video; left out on the command line, where the input file is the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(format = Uuid)]
    pub video_id: Option<String>,
    /// Times in source seconds, in any order, 1 to 10 000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 10_000)]
    pub times: Option<Vec<f64>>,
    /// Every so many source seconds, from the first frame on, 0.01 to 3600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0.01, maximum = 3600)]
    pub every: Option<f64>,
    /// From which confidence a box is worth showing, 0 to 1.
    #[serde(default = "default_confidence")]
    #[schema(minimum = 0, maximum = 1)]
    pub confidence: f64,
}

fn default_confidence() -> f64 {
    DEFAULT_CONFIDENCE
}

impl DetectionSpec {
    /// The source frames to run detection on, ascending, without duplicates: those shown at the requested times.
    pub fn frames(&self, source: &SourceFacts) -> Vec<usize> {
        let times: Vec<Rat> = match (&self.times, self.every) {
            (Some(times), _) => times.iter().copied().map(seconds_from_f64).collect(),
            (None, Some(every)) => steps(seconds_from_f64(every), source.frames.duration()).collect(),
            (None, None) => Vec::new(),
        };
        let mut frames: Vec<usize> = times.into_iter().map(|time| source.frames.at_or_before(time)).collect();
        frames.sort_unstable();
        frames.dedup();
        frames
    }

    /// What is wrong with the request for this source; nothing for an unknown one.
    fn check_source(&self, source: Option<&SourceFacts>) -> Vec<FieldError> {
        let Some(source) = source else { return Vec::new() };
        let duration = source.frames.duration();
        let outside = |time: &f64| seconds_from_f64(*time) > duration;
        let times = self.times.iter().flatten().enumerate().filter(|(_, time)| outside(time));
        times
            .map(|(i, time)| {
                let detail = format!("{time} s is outside the video, which lasts {:.3} s", to_f64(duration));
                FieldError::new(format!("/times/{i}"), "outside_video", detail)
            })
            .collect()
    }
}

/// 0, `every`, 2 `every`, … before `end`.
pub(crate) fn steps(every: Rat, end: Rat) -> impl Iterator<Item = Rat> {
    let forward = every > Rat::from(0);
    (0..).map(move |k: i128| every * k).take_while(move |time| forward && *time < end)
}

impl KindInfo for DetectionSpec {
    const MEDIA_TYPE: &'static str = "application/json";
    const EXTENSION: &'static str = "json";
    const ABOUT: &'static str = "Find the people in frames of the input; --output is a JSON file";
    const EXAMPLES: &'static str = r#"Examples:
  echo '{"kind": "detection", "every": 1.0}' > every-second.json
  touchline render detection --input match.mp4 --spec every-second.json --output people.json"#;

    fn read(object: &mut Object, rule: SourceRule, errors: &mut Errors) -> Self {
        read(object, rule, errors)
    }
}

impl KindSpec for DetectionSpec {
    fn sources(&self) -> Vec<Option<SourceRef<'_>>> {
        vec![self.video_id.as_deref().map(SourceRef::Video)]
    }

    fn set_source(&mut self, video: &str) {
        self.video_id = Some(video.to_owned());
    }

    fn check(&self, sources: &[Option<SourceFacts>]) -> Vec<FieldError> {
        self.check_source(sources.first().and_then(Option::as_ref))
    }

    fn models(&self) -> ModelNeeds<'_> {
        ModelNeeds { detector: true, ..ModelNeeds::default() }
    }
}

fn read(object: &mut Object, rule: SourceRule, errors: &mut Errors) -> DetectionSpec {
    let video_id = object.video_id(rule, errors);
    let times = object.list("times", MAX_TIMES, errors);
    let every = object.number("every", 0.01..=3600.0, errors);
    match (times, every) {
        (Given::Absent, Given::Absent) => errors.push("/times", "required", "say `times` or `every`"),
        (Given::Value(_), Given::Value(_)) => errors.push("/every", "not_allowed", "say `times` or `every`, not both"),
        (Given::Value([]), _) => errors.push("/times", "too_few", "there are no times"),
        _ => {}
    }
    let times = times.ok().map(|list| {
        let read = |(i, value)| number(value, object.at(&format!("times/{i}")), 0.0..=MAX_SECONDS, errors);
        list.iter().enumerate().map(read).map(|time| time.unwrap_or(0.0)).collect()
    });
    let confidence = object.number("confidence", 0.0..=1.0, errors).or(DEFAULT_CONFIDENCE);
    DetectionSpec { video_id, times, every: every.ok(), confidence }
}
