//! Judges a framing request against its sources.

use super::{ClipEdit, FramingSpec};
use crate::crop::CropKeyframe;
use crate::field_error::FieldError;
use crate::rational::seconds_from_f64;
use crate::source::SourceFacts;
use crate::spec::time_range::{check_range, outside_video};

/// How far a keyframe may stick out of the frame, in pixels.
const OUTSIDE_TOLERANCE: f64 = 1.0;

/// Everything that is wrong for these sources.
pub(crate) fn check(spec: &FramingSpec, sources: &[Option<SourceFacts>]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (i, clip) in spec.clips.iter().enumerate() {
        if let Some(source) = sources.get(i).and_then(Option::as_ref) {
            errors.extend(check_clip(clip, source, &format!("/clips/{i}")));
        }
    }
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
    let mut errors = check_range(clip.start, clip.end, source, pointer);
    if !errors.is_empty() {
        // Whatever the clip's own times are measured from is wrong: judging them too would only repeat it.
        return errors;
    }
    let start = seconds_from_f64(clip.start);
    let duration = source.frames.duration();
    let trimmed = clip.trim.map(|trim| start + seconds_from_f64(trim.start)).filter(|from| *from >= duration);
    errors.extend(trimmed.map(|from| outside_video(format!("{pointer}/trim/start"), from, source)));
    for (j, keyframe) in clip.crop.iter().enumerate() {
        let time = start + seconds_from_f64(keyframe.time);
        if time > duration + source.tolerance() {
            errors.push(outside_video(format!("{pointer}/crop/{j}/time"), time, source));
        }
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
