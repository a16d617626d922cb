//! Sources and requests that several test files use.

use std::sync::Arc;

use edits::{ExportSpec, FrameRate, FrameTimes, FramingPlan, FramingSpec, Quality, SourceFacts, SourceRule, spec};
use serde_json::Value;

pub fn rate(num: u32, den: u32) -> FrameRate {
    FrameRate::new(num, den).expect("not zero")
}

/// 1920x1080 with sound, `frames` frames at a constant rate, in the fine ticks that MP4 muxers choose.
pub fn source(rate: FrameRate, frames: i64) -> SourceFacts {
    let step = i64::from(rate.den) * 512;
    let time_base = (1, i32::try_from(rate.num * 512).expect("a small rate"));
    let times = FrameTimes::new(time_base, (0..frames).map(|n| n * step + 77).collect(), frames * step + 77);
    facts(times.expect("rising times"), rate)
}

/// 1920x1080 with sound, shown at these milliseconds.
pub fn variable_source(pts: Vec<i64>) -> SourceFacts {
    let end = pts.last().expect("a frame") + 40;
    facts(FrameTimes::new((1, 1000), pts, end).expect("rising times"), rate(25, 1))
}

fn facts(times: FrameTimes, rate: FrameRate) -> SourceFacts {
    SourceFacts { width: 1920, height: 1080, frames: Arc::new(times), rate, has_audio: true }
}

/// A framing request for one input file that is right by itself.
pub fn framing(request: &Value) -> FramingSpec {
    let parsed = spec::parse(request, SourceRule::Implied);
    assert_eq!(parsed.errors, [], "{request}");
    match parsed.spec {
        Some(ExportSpec::Framing(spec)) => spec,
        other => panic!("not a framing: {other:?}"),
    }
}

/// The plan of a request in which every clip is from `source`.
pub fn plan(request: &Value, source: &SourceFacts) -> FramingPlan {
    let spec = framing(request);
    let sources = vec![source.clone(); spec.clips.len()];
    FramingPlan::new(&spec, &sources, Quality::Best).expect("the request fits its source")
}

/// The pointers of everything wrong with a request, by itself and for `source`, sorted.
pub fn pointers(request: &Value, rule: SourceRule, source: &SourceFacts) -> Vec<String> {
    let mut pointers: Vec<String> = errors(request, rule, source).into_iter().map(|(pointer, _)| pointer).collect();
    pointers.sort();
    pointers
}

/// (pointer, code) of everything wrong with a request, by itself and for `source`.
pub fn errors(request: &Value, rule: SourceRule, source: &SourceFacts) -> Vec<(String, String)> {
    let parsed = spec::parse(request, rule);
    let late = parsed.spec.map_or_else(Vec::new, |spec| {
        let sources = vec![Some(source.clone()); spec.sources().len()];
        spec.check(&sources)
    });
    let merged = edits::FieldError::merge(parsed.errors, late);
    merged.into_iter().map(|error| (error.pointer, error.code.into_owned())).collect()
}

/// How many pictures a model upscales for the whole reel.
pub fn upscaled(plan: &FramingPlan) -> u64 {
    plan.feeds().into_iter().map(|(_, count)| count).sum()
}
