//! Annotated compilations: which clips are shown, and which are left out.

use crate::common::{rate, source};
use edits::{AnnotatedPlan, AnnotatedSpec, ExportSpec, FieldError, SourceRule, spec};
use proptest::prelude::*;
use serde_json::{Value, json};

fn plan(clips: Value) -> Result<AnnotatedPlan, Vec<FieldError>> {
    // A minute of 1920x1080 at 25 fps.
    AnnotatedPlan::new(&annotated(clips), &source(rate(25, 1), 1500))
}

fn annotated(clips: Value) -> AnnotatedSpec {
    let request = json!({"kind": "annotated", "clips": clips});
    let parsed = spec::parse(&request, SourceRule::Implied);
    assert_eq!(parsed.errors, [], "{request}");
    match parsed.spec {
        Some(ExportSpec::Annotated(spec)) => spec,
        other => panic!("not a compilation: {other:?}"),
    }
}

#[test]
fn clips_hold_the_frames_from_start_to_end() {
    let clips = json!([{"start": 1, "end": 2}, {"start": 0.01, "end": 0.05}, {"start": 59, "end": 60.04}]);
    let plan = plan(clips).expect("all are good");
    let ranges: Vec<_> = plan.clips.iter().map(|clip| clip.range.clone()).collect();
    assert_eq!(ranges, [25..50, 1..2, 1475..1500]);
    assert_eq!((plan.frames(), plan.warnings.len()), (51, 0));
    let titles: Vec<_> = plan.clips.iter().map(|clip| clip.card.title.text.as_str()).collect();
    assert_eq!(titles, ["!?  Clip 1", "!?  Clip 2", "!?  Clip 3"]);
}

#[test]
fn a_bad_clip_is_named_and_does_not_lose_the_rest() {
    let clips = json!([{"start": 5, "end": 5}, {"start": 1, "end": 2}, {"start": 75, "end": 80, "name": "Goal"},
                       {"start": 5, "end": 2.5, "name": "Long ".repeat(30)}, {"start": 50, "end": 60.05},
                       {"start": 1.001, "end": 1.002}, {"start": 3, "end": 4}]);
    let plan = plan(clips).expect("two are good");
    assert_eq!(plan.clips.iter().map(|clip| clip.number).collect::<Vec<_>>(), [2, 7]);
    assert_eq!(plan.clips[1].card.title.text, "!?  Clip 7");
    let long = format!("{}…", "Long ".repeat(12).chars().take(59).collect::<String>());
    assert_eq!(
        plan.warnings,
        [
            "clip 1 left out: it starts at 5 s and ends at 5 s".to_owned(),
            "clip 3 (“Goal”) left out: it starts at 75 s and the video lasts 60 s".to_owned(),
            format!("clip 4 (“{long}”) left out: it starts at 5 s and ends at 2.5 s"),
            "clip 5 left out: it ends at 60.05 s and the video lasts 60 s".to_owned(),
            "clip 6 left out: no frame of the video is between 1.001 s and 1.002 s".to_owned(),
        ]
    );
}

#[test]
fn all_bad_is_an_error() {
    let errors = plan(json!([{"start": 75, "end": 80}, {"start": 2, "end": 1}])).expect_err("none is good");
    assert_eq!(errors.iter().map(|error| error.pointer.as_str()).collect::<Vec<_>>(), ["/clips/0", "/clips/1"]);
    assert_eq!(errors[0].detail, "it starts at 75 s and the video lasts 60 s");
    let nothing = AnnotatedSpec { clips: Vec::new(), ..annotated(json!([{"start": 1, "end": 2}])) };
    assert!(AnnotatedPlan::new(&nothing, &source(rate(25, 1), 1500)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    /// Every clip is shown or named, and any text makes a card of one line.
    #[test]
    fn every_clip_is_shown_or_named(clips in prop::collection::vec((0.0..70.0, 0.0..70.0, ".{0,150}", ".{0,150}"), 1..9)) {
        let list = clips.iter().map(|(start, end, name, notes)| json!({"start": start, "end": end, "name": name, "notes": notes}));
        let spec = annotated(list.collect());
        match AnnotatedPlan::new(&spec, &source(rate(25, 1), 1500)) {
            Ok(plan) => {
                prop_assert_eq!(plan.clips.len() + plan.warnings.len(), clips.len());
                for clip in plan.clips {
                    prop_assert!(!clip.range.is_empty() && clip.range.end <= 1500);
                    prop_assert!(!clip.card.title.text.contains(char::is_control));
                    let notes = clip.card.notes.map_or(0, |notes| notes.text.chars().count());
                    prop_assert!(notes <= 100);
                }
            }
            Err(errors) => prop_assert_eq!(errors.len(), clips.len()),
        }
    }
}
