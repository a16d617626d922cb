//! Judges an overlay request against its source.

use super::OverlaySpec;
use crate::field_error::FieldError;
use crate::rational::seconds_from_f64;
use crate::source::SourceFacts;
use crate::spec::time_range::{check_range, outside_video};

/// What is wrong with the request for this source; nothing for an unknown one.
pub(in crate::spec) fn check(spec: &OverlaySpec, source: Option<&SourceFacts>) -> Vec<FieldError> {
    let Some(source) = source else { return Vec::new() };
    let latest = source.frames.duration() + source.tolerance();
    let mut errors = Vec::new();
    for (i, region) in spec.regions.iter().enumerate() {
        let pointer = format!("/regions/{i}");
        errors.extend(check_range(region.start, region.end, source, &pointer));
        for (j, keyframe) in region.keyframes.iter().enumerate() {
            let time = seconds_from_f64(keyframe.time);
            if time > latest {
                errors.push(outside_video(format!("{pointer}/keyframes/{j}/time"), time, source));
            }
        }
    }
    for (i, text) in spec.texts.iter().enumerate() {
        errors.extend(check_range(text.start, text.end, source, &format!("/texts/{i}")));
    }
    errors
}
