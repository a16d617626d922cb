//! An annotated compilation: which frames each clip has, and its card.

use std::ops::Range;

use crate::card::card;
use crate::drawing::Card;
use crate::field_error::FieldError;
use crate::line::{one_line, shortened};
use crate::rational::{Rat, seconds_from_f64, to_f64};
use crate::source::SourceFacts;
use crate::spec::annotated::{AnnotatedSpec, NotedClip};

/// Most characters of a clip's name in a warning.
const MAX_NAME: usize = 60;

/// A compilation, clip by clip.
#[derive(Clone, Debug, PartialEq)]
pub struct AnnotatedPlan {
    /// The clips that are shown, in order; at least one.
    pub clips: Vec<AnnotatedClip>,
    /// The clips that are left out, by name, and why.
    pub warnings: Vec<String>,
}

/// A clip of a compilation.
#[derive(Clone, Debug, PartialEq)]
pub struct AnnotatedClip {
    /// Its place in the request, from 1.
    pub number: usize,
    /// Its source frames, those with start <= PTS < end; at least one.
    pub range: Range<usize>,
    /// The card that is seen all along.
    pub card: Card,
}

impl AnnotatedPlan {
    /// Plans a request from the facts of its source. A clip whose range is empty, reversed or outside the video does
    /// not lose the rest: it is left out with a warning. An end up to a frame past the video means the video's end.
    ///
    /// Errors when that leaves nothing, one for each clip.
    pub fn new(spec: &AnnotatedSpec, source: &SourceFacts) -> Result<Self, Vec<FieldError>> {
        let mut plan = Self { clips: Vec::new(), warnings: Vec::new() };
        let mut errors = Vec::new();
        for (i, clip) in spec.clips.iter().enumerate() {
            let number = i + 1;
            match frames_of(clip, source) {
                Ok(range) => {
                    let card = card(number, clip, (source.width, source.height));
                    plan.clips.push(AnnotatedClip { number, range, card });
                }
                Err(why) => {
                    plan.warnings.push(format!("{} left out: {why}", called(number, clip)));
                    errors.push(FieldError::new(format!("/clips/{i}"), "outside_video", why));
                }
            }
        }
        if plan.clips.is_empty() {
            if errors.is_empty() {
                errors.push(FieldError::new("/clips", "too_few", "there is nothing to render"));
            }
            return Err(errors);
        }
        Ok(plan)
    }

    /// How many frames the compilation has.
    pub fn frames(&self) -> usize {
        self.clips.iter().map(|clip| clip.range.len()).sum()
    }
}

/// The frames of a clip, or why it has none.
fn frames_of(clip: &NotedClip, source: &SourceFacts) -> Result<Range<usize>, String> {
    let (start, end) = (seconds_from_f64(clip.start), seconds_from_f64(clip.end));
    let duration = source.frames.duration();
    let lasts = format!("and the video lasts {} s", show(duration));
    if end <= start {
        return Err(format!("it starts at {} s and ends at {} s", show(start), show(end)));
    }
    if start >= duration {
        return Err(format!("it starts at {} s {lasts}", show(start)));
    }
    if end > duration + source.tolerance() {
        return Err(format!("it ends at {} s {lasts}", show(end)));
    }
    let range = source.frames.between(start, end);
    if range.is_empty() {
        return Err(format!("no frame of the video is between {} s and {} s", show(start), show(end)));
    }
    Ok(range)
}

fn called(number: usize, clip: &NotedClip) -> String {
    match shortened(&one_line(&clip.name), MAX_NAME) {
        name if name.is_empty() => format!("clip {number}"),
        name => format!("clip {number} (“{name}”)"),
    }
}

/// To the millisecond, without zeros that say nothing.
fn show(seconds: Rat) -> f64 {
    (to_f64(seconds) * 1000.0).round() / 1000.0
}
