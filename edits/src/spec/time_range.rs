//! Ranges of time in a request: read, and judged against a video.

use super::reader::{Errors, Given, Object};
use crate::field_error::FieldError;
use crate::rational::{MAX_SECONDS, Rat, seconds_from_f64, to_f64};
use crate::source::SourceFacts;

/// A `start` and an `end`, in seconds.
pub(super) struct TimeRange {
    pub(super) start: Given<f64>,
    pub(super) end: Given<f64>,
}

impl TimeRange {
    /// Both ends, when both are good.
    pub(super) fn good(&self) -> Option<(f64, f64)> {
        Some((self.start.ok()?, self.end.ok()?))
    }

    /// Reads both ends, of which each must be there and a time.
    pub(super) fn read_ends(fields: &mut Object, errors: &mut Errors) -> Self {
        let mut seconds = |name: &'static str| {
            let given = fields.number(name, 0.0..=MAX_SECONDS, errors);
            fields.required(name, given, errors)
        };
        Self { start: seconds("start"), end: seconds("end") }
    }

    /// Reads both ends; an end that is not after its start is broken.
    pub(super) fn read(fields: &mut Object, errors: &mut Errors) -> Self {
        let mut range = Self::read_ends(fields, errors);
        if let (Some(from), Some(to)) = (range.start.seconds(), range.end.seconds())
            && to <= from
        {
            let detail = format!("the end, {} s, is not after the start, {} s", to_f64(to), to_f64(from));
            errors.push(fields.at("end"), "empty_range", detail);
            range.end = Given::Broken;
        }
        range
    }
}

/// What is wrong with a range of a video's seconds: it must start before the video ends, and end no later than a
/// frame after it (such an end means the video's).
pub(super) fn check_range(start: f64, end: f64, source: &SourceFacts, pointer: &str) -> Vec<FieldError> {
    let (start, end) = (seconds_from_f64(start), seconds_from_f64(end));
    let duration = source.frames.duration();
    let ends = [("start", start, start >= duration), ("end", end, end > duration + source.tolerance())];
    let wrong = ends.into_iter().filter(|(_, _, wrong)| *wrong);
    wrong.map(|(field, time, _)| outside_video(format!("{pointer}/{field}"), time, source)).collect()
}

/// A time that the video does not have.
pub(super) fn outside_video(pointer: String, time: Rat, source: &SourceFacts) -> FieldError {
    let duration = to_f64(source.frames.duration());
    let detail = format!("{} s is outside the video, which lasts {duration:.3} s", to_f64(time));
    FieldError::new(pointer, "outside_video", detail)
}
