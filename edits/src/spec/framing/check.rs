//! Judges a framing request against its sources.

use super::{ClipEdit, FramingSpec, TransitionKind};
use crate::crop::CropKeyframe;
use crate::field_error::FieldError;
use crate::rational::{Rat, seconds_from_f64, to_f64};
use crate::source::SourceFacts;

/// How far a keyframe may stick out of the frame, in pixels.
const OUTSIDE_TOLERANCE: f64 = 1.0;

/// Everything that is wrong for these sources, and everything that cannot be rendered yet.
pub(crate) fn check(spec: &FramingSpec, sources: &[Option<SourceFacts>]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (i, clip) in spec.clips.iter().enumerate() {
        if let Some(source) = sources.get(i).and_then(Option::as_ref) {
            errors.extend(check_clip(clip, source, &format!("/clips/{i}")));
        }
    }
    errors.extend(not_yet_supported(spec));
    errors
}

/// Everything that is wrong with a clip of this source.
pub(crate) fn check_clip(clip: &ClipEdit, source: &SourceFacts, pointer: &str) -> Vec<FieldError> {
    let mut errors = check_times(clip, source, pointer);
    for (j, keyframe) in clip.crop.iter().enumerate() {
        errors.extend(check_keyframe(keyframe, source, format!("{pointer}/crop/{j}")));
    }
    errors
}

fn check_times(clip: &ClipEdit, source: &SourceFacts, pointer: &str) -> Vec<FieldError> {
    let duration = source.frames.duration();
    let latest = duration + source.tolerance();
    let mut errors = Vec::new();
    let mut outside = |field: String, time: Rat, wrong: bool| {
        if wrong {
            let detail = format!("{} s is outside the video, which lasts {:.3} s", to_f64(time), to_f64(duration));
            errors.push(FieldError::new(format!("{pointer}/{field}"), "outside_video", detail));
        }
        wrong
    };
    let (start, end) = (seconds_from_f64(clip.start), seconds_from_f64(clip.end));
    let bad_start = outside("start".to_owned(), start, start >= duration);
    let bad_end = outside("end".to_owned(), end, end > latest);
    if bad_start || bad_end {
        // Whatever the clip's own times are measured from is wrong: judging them too would only repeat it.
        return errors;
    }
    if let Some(trim) = clip.trim {
        let from = start + seconds_from_f64(trim.start);
        outside("trim/start".to_owned(), from, from >= duration);
    }
    for (j, keyframe) in clip.crop.iter().enumerate() {
        let time = start + seconds_from_f64(keyframe.time);
        outside(format!("crop/{j}/time"), time, time > latest);
    }
    errors
}

fn check_keyframe(keyframe: &CropKeyframe, source: &SourceFacts, pointer: String) -> Option<FieldError> {
    let (width, height) = (f64::from(source.width), f64::from(source.height));
    let (right, bottom) = (keyframe.x + keyframe.width, keyframe.y + keyframe.height);
    let sticks_out = [-keyframe.x, -keyframe.y, right - width, bottom - height].into_iter().fold(0.0, f64::max);
    if sticks_out <= OUTSIDE_TOLERANCE {
        return None;
    }
    let detail = format!(
        "the crop from ({}, {}) to ({right}, {bottom}) sticks {sticks_out} px out of the {width}x{height} frame; at \
         most 1 px is allowed",
        keyframe.x, keyframe.y
    );
    Some(FieldError::new(pointer, "outside_frame", detail))
}

fn not_yet_supported(spec: &FramingSpec) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if spec.transition.kind != TransitionKind::Cut {
        let detail = "only `cut` can be rendered so far";
        errors.push(FieldError::new("/transition/kind", "not_yet_supported", detail));
    }
    for (i, clip) in spec.clips.iter().enumerate() {
        for (j, segment) in clip.segments.iter().enumerate().filter(|(_, segment)| segment.speed != 1.0) {
            let detail = format!("speed {} cannot be rendered so far; use 1", segment.speed);
            errors.push(FieldError::new(format!("/clips/{i}/segments/{j}/speed"), "not_yet_supported", detail));
        }
    }
    errors
}
