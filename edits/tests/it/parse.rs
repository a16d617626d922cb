//! Requests, right and wrong.

use crate::common::{errors, pointers, rate, source};
use edits::{ExportKind, ExportSpec, FieldError, SourceRef, SourceRule, spec};
use proptest::prelude::*;
use serde_json::{Value, json};

const ID: &str = "0192f0c4-7d3a-7cc1-8f5b-0a1b2c3d4e5f";

fn one_clip(clip: Value) -> Value {
    json!({"kind": "framing", "clips": [clip]})
}

/// The only mistake of a request about ten seconds of 1920x1080 at 25 fps.
fn mistake(request: Value) -> (String, String) {
    let mut errors = errors(&request, SourceRule::Implied, &source(rate(25, 1), 250));
    assert_eq!(errors.len(), 1, "{request}: {errors:?}");
    errors.remove(0)
}

fn expect(request: Value, pointer: &str, code: &str) {
    assert_eq!(mistake(request), (pointer.to_owned(), code.to_owned()));
}

#[test]
fn the_smallest_request_has_all_defaults() {
    let parsed = spec::parse(&one_clip(json!({"start": 1, "end": 2.5})), SourceRule::Implied);
    assert_eq!(parsed.errors, []);
    let written = serde_json::to_value(parsed.spec).expect("a spec is JSON");
    assert_eq!(
        written,
        json!({"kind": "framing",
            "clips": [{"name": "", "start": 1.0, "end": 2.5, "crop": [], "rotation": 0.0, "segments": []}],
            "output": {"width": 810, "height": 1440, "fps": 30, "crf": 23, "preset": "fast"},
            "upscale": {"mode": "ai", "model": "auto", "quality": "auto", "fidelity": 0.5},
            "transition": {"kind": "cut", "duration": 0.5},
            "detect": {"rule": "opening", "confidence": 0.5}})
    );
}

#[test]
fn ten_mistakes_are_ten_errors() {
    let request = json!({
        "kind": "framing",
        "colour": "red",
        "clips": [
            {"video_id": ID, "name": 7, "start": -1.0, "end": 4.0, "rotation": 90,
             "crop": [{"time": 0.0, "x": 1800, "y": 0, "width": 540, "height": 960},
                      {"time": 1.0, "x": 100, "y": 0, "width": 900, "height": 960}]},
            {"start": 2.0, "end": 600.0},
        ],
        "output": {"fps": 1e300},
        "upscale": {"quality": "amazing"}
    });
    assert_eq!(
        pointers(&request, SourceRule::Named, &source(rate(25, 1), 250)),
        [
            "/clips/0/crop/0",
            "/clips/0/crop/1/width",
            "/clips/0/name",
            "/clips/0/rotation",
            "/clips/0/start",
            "/clips/1/end",
            "/clips/1/video_id",
            "/colour",
            "/output/fps",
            "/upscale/quality",
        ]
    );
}

#[test]
fn requests_that_are_no_specs_are_refused() {
    expect(json!([]), "", "wrong_type");
    expect(json!({}), "/kind", "required");
    expect(json!({"kind": 3}), "/kind", "wrong_type");
    expect(json!({"kind": "painting"}), "/kind", "unknown_value");
    expect(json!({"kind": "framing"}), "/clips", "required");
    expect(json!({"kind": "framing", "clips": []}), "/clips", "too_few");
    expect(json!({"kind": "framing", "clips": 5}), "/clips", "wrong_type");
    expect(json!({"kind": "framing", "clips": [5]}), "/clips/0", "wrong_type");
    expect(one_clip(json!({"start": 0, "end": 1, "a/b~": 1})), "/clips/0/a~1b~0", "unknown_field");
}

#[test]
fn floods_are_one_error_each() {
    let keyframe = json!({"time": 0, "x": 0, "y": 0, "width": 540, "height": 960});
    let crop = vec![keyframe; 10_000];
    expect(one_clip(json!({"start": 0, "end": 1, "crop": crop})), "/clips/0/crop", "too_many");
    let clips = vec![json!({"start": 0, "end": 1}); 201];
    expect(json!({"kind": "framing", "clips": clips}), "/clips", "too_many");
    let segments = vec![json!({"start": 0, "end": 1, "speed": 1}); 201];
    expect(one_clip(json!({"start": 0, "end": 1, "segments": segments})), "/clips/0/segments", "too_many");
    expect(one_clip(json!({"start": 0, "end": 1, "name": "é".repeat(201)})), "/clips/0/name", "too_long");
    let unknown: serde_json::Map<String, Value> = (0..5000).map(|i| (format!("f{i}"), json!(1))).collect();
    let parsed = spec::parse(&one_clip(Value::Object(unknown)), SourceRule::Implied);
    assert_eq!(parsed.errors.len(), 1001);
    assert_eq!(parsed.errors[1000].code, "too_many_errors");
}

#[test]
fn keyframes_are_bounded_in_all_clips_together() {
    let rising = |count: usize| -> Vec<Value> {
        let keyframe = |i| json!({"time": f64::from(i) / 100.0, "x": 0, "y": 0, "width": 540, "height": 960});
        (0..count as u32).map(keyframe).collect()
    };
    let request = |last: usize| {
        let full = json!({"start": 0, "end": 20, "crop": rising(2000)});
        let clips = [vec![full; 5], vec![json!({"start": 0, "end": 20, "crop": rising(last)})]].concat();
        json!({"kind": "framing", "clips": clips})
    };
    assert_eq!(spec::parse(&request(0), SourceRule::Implied).errors, []);
    expect(request(1), "/clips", "too_many");

    let spot = |time: f64| json!({"time": time, "x": 1, "y": 1, "radius_x": 9, "radius_y": 9});
    let region = |start: usize, count: usize| {
        let keyframes: Vec<Value> = (0..count).map(|i| spot(start as f64 + i as f64 / 4000.0)).collect();
        json!({"start": start, "end": start + 1, "keyframes": keyframes})
    };
    let request = |last: usize| {
        let regions: Vec<Value> = (0..5).map(|i| region(i, 2000)).chain([region(5, last)]).collect();
        json!({"kind": "overlay", "regions": regions})
    };
    assert_eq!(spec::parse(&request(0), SourceRule::Implied).errors, []);
    expect(request(1), "/regions", "too_many");
}

/// Checks that compare every keyframe or error with every other one would take minutes here.
#[test]
fn ten_thousand_keyframes_with_mistakes_cost_as_much_as_they_are_long() {
    let wrong = json!({"time": 9e4, "x": 1e300, "y": "a", "width": -1, "height": null, "a": 1, "b": 2, "c": 3});
    let clip = json!({"start": 0, "end": 1e5, "crop": vec![wrong; 2000]});
    let outside = json!({"time": 0, "x": 5000, "y": 0, "width": 540, "height": 960});
    let far = |i: u32| {
        let mut keyframe = outside.clone();
        keyframe["time"] = json!(f64::from(i) + 5000.0);
        keyframe
    };
    let crop: Vec<Value> = (0..2000).map(far).collect();
    let late = json!({"start": 0, "end": 2, "crop": crop});
    for clip in [clip, late] {
        let request = json!({"kind": "framing", "clips": vec![clip; 5]});
        let parsed = spec::parse(&request, SourceRule::Implied);
        let spec = parsed.spec.expect("the kind is known");
        let sources = vec![Some(source(rate(30, 1), 300)); 5];
        let errors = FieldError::merge(parsed.errors, spec.check(&sources));
        assert_eq!((errors.len(), &*errors[1000].code), (1001, "too_many_errors"));
    }
    let names: serde_json::Map<String, Value> = (0..200_000).map(|i| (format!("f{i}"), json!(1))).collect();
    let parsed = spec::parse(&one_clip(Value::Object(names)), SourceRule::Implied);
    assert_eq!(parsed.errors.len(), 1001);
}

#[test]
fn outputs_are_bounded() {
    let output = |name: &str, value: Value| {
        let mut request = one_clip(json!({"start": 0, "end": 1}));
        request["output"][name] = value;
        request
    };
    expect(output("width", json!(811)), "/output/width", "odd_size");
    expect(output("height", json!(14)), "/output/height", "out_of_range");
    expect(output("width", json!(4098)), "/output/width", "out_of_range");
    expect(output("height", json!(100.5)), "/output/height", "wrong_type");
    expect(output("fps", json!(0.5)), "/output/fps", "out_of_range");
    expect(output("fps", json!(121)), "/output/fps", "out_of_range");
    expect(output("crf", json!(52)), "/output/crf", "out_of_range");
    expect(output("preset", json!("speedy")), "/output/preset", "unknown_value");
    expect(output("codec", json!("av1")), "/output/codec", "unknown_field");
    let good = spec::parse(&output("width", json!(900.0)), SourceRule::Implied);
    assert_eq!(good.errors, []);
}

#[test]
fn settings_are_bounded() {
    let with = |section: &str, value: Value| {
        let mut request = one_clip(json!({"start": 0, "end": 1}));
        request[section] = value;
        request
    };
    expect(with("upscale", json!({"fidelity": 1.1})), "/upscale/fidelity", "out_of_range");
    expect(with("upscale", json!({"mode": "magic"})), "/upscale/mode", "unknown_value");
    expect(with("detect", json!({"confidence": -0.1})), "/detect/confidence", "out_of_range");
    expect(with("detect", json!({"rule": "closing"})), "/detect/rule", "unknown_value");
    expect(with("detect", json!({"rule": {"every": 0}})), "/detect/rule/every", "out_of_range");
    expect(with("detect", json!({"rule": {}})), "/detect/rule/every", "required");
    expect(with("detect", json!({"rule": {"every": 1, "x": 1}})), "/detect/rule/x", "unknown_field");
    expect(with("transition", json!({"duration": -1})), "/transition/duration", "out_of_range");
    expect(with("transition", json!("cut")), "/transition", "wrong_type");
}

#[test]
fn times_must_lie_in_the_video() {
    let clip = |start: f64, end: f64| one_clip(json!({"start": start, "end": end}));
    expect(clip(3.0, 3.0), "/clips/0/end", "empty_range");
    expect(clip(-0.1, 3.0), "/clips/0/start", "out_of_range");
    expect(clip(1.0, 1e300), "/clips/0/end", "out_of_range");
    expect(clip(1.0, 10.041), "/clips/0/end", "outside_video");
    assert!(pointers(&clip(1.0, 10.04), SourceRule::Implied, &source(rate(25, 1), 250)).is_empty());
    let both = pointers(&clip(10.0, 12.0), SourceRule::Implied, &source(rate(25, 1), 250));
    assert_eq!(both, ["/clips/0/end", "/clips/0/start"]);
    let late = json!([{"time": 9.5, "x": 0, "y": 0, "width": 540, "height": 960}]);
    expect(one_clip(json!({"start": 1, "end": 2, "crop": late})), "/clips/0/crop/0/time", "outside_video");
}

#[test]
fn trims_and_segments_partition_the_clip() {
    let clip = |extra: Value| {
        let mut clip = json!({"start": 1.0, "end": 9.0});
        clip.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        one_clip(clip)
    };
    let segment = |start: f64, end: f64| json!({"start": start, "end": end, "speed": 1.0});
    let segments = |list: &[(f64, f64)]| {
        let list: Vec<Value> = list.iter().map(|(start, end)| segment(*start, *end)).collect();
        clip(json!({"trim": {"start": 0.5, "end": 7.5}, "segments": list}))
    };
    let fine = |request: Value| assert_eq!(errors(&request, SourceRule::Implied, &source(rate(25, 1), 250)), []);
    fine(clip(json!({"trim": {"start": 0.0, "end": 8.0}})));
    fine(clip(json!({"trim": {"start": 0.0, "end": 8.03}})));
    expect(clip(json!({"trim": {"start": 0.0, "end": 8.04}})), "/clips/0/trim/end", "outside_clip");
    expect(clip(json!({"trim": {"start": 3.0, "end": 2.0}})), "/clips/0/trim/end", "empty_range");
    expect(clip(json!({"trim": {"start": 3.0}})), "/clips/0/trim/end", "required");
    fine(segments(&[(0.5, 0.1 + 0.2 + 1.0), (1.3, 7.5)]));
    fine(segments(&[(0.5, 7.53)]));
    expect(segments(&[(0.0, 7.5)]), "/clips/0/segments/0/start", "overlap");
    expect(segments(&[(0.5, 2.0), (2.001, 7.5)]), "/clips/0/segments/1/start", "gap");
    expect(segments(&[(0.5, 2.0), (1.9, 7.5)]), "/clips/0/segments/1/start", "overlap");
    expect(segments(&[(0.5, 7.0)]), "/clips/0/segments/0/end", "gap");
    expect(segments(&[(0.5, 7.6)]), "/clips/0/segments/0/end", "outside_clip");
    let slow = json!({"segments": [{"start": 0, "end": 8, "speed": 0.05}]});
    expect(clip(slow), "/clips/0/segments/0/speed", "out_of_range");
    let half = json!({"segments": [{"start": 0, "end": 8, "speed": 0.5}]});
    fine(clip(half));
}

#[test]
fn a_broken_segment_keeps_its_place() {
    let segments = json!([7, {"start": 1, "end": 1, "speed": 1}, {"start": 1, "end": 2, "speed": 20}]);
    let request = one_clip(json!({"start": 0, "end": 2, "segments": segments}));
    assert_eq!(
        pointers(&request, SourceRule::Implied, &source(rate(25, 1), 250)),
        ["/clips/0/segments/0", "/clips/0/segments/1/end", "/clips/0/segments/2/speed"]
    );
}

#[test]
fn keyframes_must_fit_the_frame_and_the_aspect() {
    let crop = |x: f64, y: f64, width: f64, height: f64| {
        let keyframe = json!({"time": 0.0, "x": x, "y": y, "width": width, "height": height});
        one_clip(json!({"start": 0, "end": 1, "crop": [keyframe]}))
    };
    let fine = |request: Value| assert_eq!(errors(&request, SourceRule::Implied, &source(rate(25, 1), 250)), []);
    fine(crop(-1.0, -1.0, 540.0, 960.0));
    fine(crop(1920.0 - 539.0, 1080.0 - 959.0, 540.0, 960.0));
    fine(crop(0.0, 0.0, 545.4, 960.0));
    expect(crop(-1.1, 0.0, 540.0, 960.0), "/clips/0/crop/0", "outside_frame");
    expect(crop(0.0, 122.0, 540.0, 960.0), "/clips/0/crop/0", "outside_frame");
    expect(crop(0.0, 0.0, 546.0, 960.0), "/clips/0/crop/0/width", "wrong_aspect");
    expect(crop(0.0, 0.0, 540.0, -960.0), "/clips/0/crop/0/height", "out_of_range");
    expect(crop(0.0, 0.0, 540.0, 1e300), "/clips/0/crop/0/height", "out_of_range");
    let mut unordered = crop(0.0, 0.0, 540.0, 960.0);
    let again = unordered["clips"][0]["crop"][0].clone();
    unordered["clips"][0]["crop"].as_array_mut().expect("a list").push(again);
    expect(unordered, "/clips/0/crop/1/time", "out_of_order");
}

#[test]
fn the_detail_of_a_bad_keyframe_has_the_numbers() {
    let crop = json!([{"time": 0, "x": 1500, "y": 0, "width": 600, "height": 960}]);
    let request = one_clip(json!({"start": 0, "end": 1, "crop": crop}));
    let parsed = spec::parse(&request, SourceRule::Implied);
    assert!(parsed.errors[0].detail.contains("11.11 % off"), "{}", parsed.errors[0].detail);
    let late = parsed.spec.expect("a spec").check(&[Some(source(rate(25, 1), 250))]);
    assert!(late[0].detail.contains("sticks 180 px out of the 1920x1080 frame"), "{}", late[0].detail);
}

#[test]
fn sources_are_named_over_http_and_implied_on_the_command_line() {
    let clip = |id: Value| one_clip(json!({"video_id": id, "start": 0, "end": 1}));
    let found = |request: &Value, rule| errors(request, rule, &source(rate(25, 1), 250));
    assert_eq!(found(&clip(json!(ID)), SourceRule::Named), []);
    let error = |pointer: &str, code: &str| vec![(pointer.to_owned(), code.to_owned())];
    assert_eq!(found(&clip(Value::Null), SourceRule::Named), error("/clips/0/video_id", "required"));
    assert_eq!(found(&clip(json!("seven")), SourceRule::Named), error("/clips/0/video_id", "invalid_id"));
    assert_eq!(found(&clip(json!(ID)), SourceRule::Implied), error("/clips/0/video_id", "not_allowed"));
    let stored = one_clip(json!({"clip_id": ID, "start": 0, "end": 1}));
    assert_eq!(found(&stored, SourceRule::Named), error("/clips/0/video_id", "required"));
    assert_eq!(found(&stored, SourceRule::Implied), error("/clips/0/clip_id", "not_allowed"));
    let spec = spec::parse(&clip(json!(ID)), SourceRule::Named).spec.expect("a spec");
    assert_eq!(
        (spec.sources(), spec.source_pointer(0)),
        (vec![Some(SourceRef::Video(ID))], "/clips/0/video_id".to_owned())
    );
}

#[test]
fn detections_choose_their_frames() {
    let ten_seconds = source(rate(25, 1), 250);
    let frames = |request: Value| match spec::parse(&request, SourceRule::Implied) {
        spec::Parsed { spec: Some(ExportSpec::Detection(spec)), errors } if errors.is_empty() => {
            spec.frames(&ten_seconds)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(frames(json!({"kind": "detection", "times": [4.0, 0.05, 0.04, 10.0, 0.079]})), [1, 100, 249]);
    assert_eq!(frames(json!({"kind": "detection", "every": 2.5})), [0, 62, 125, 187]);
    assert_eq!(frames(json!({"kind": "detection", "every": 0.01})), (0..250).collect::<Vec<_>>());
    expect(json!({"kind": "detection"}), "/times", "required");
    expect(json!({"kind": "detection", "times": []}), "/times", "too_few");
    expect(json!({"kind": "detection", "times": [0, "x"]}), "/times/1", "wrong_type");
    expect(json!({"kind": "detection", "times": [0, -1]}), "/times/1", "out_of_range");
    expect(json!({"kind": "detection", "times": [0, 10.01]}), "/times/1", "outside_video");
    expect(json!({"kind": "detection", "times": [0], "every": 1}), "/every", "not_allowed");
    expect(json!({"kind": "detection", "every": 1, "confidence": 2}), "/confidence", "out_of_range");
    expect(json!({"kind": "detection", "every": 1, "speed": 2}), "/speed", "unknown_field");
}

/// Any JSON, often with the names and words that the parser knows.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        3 => prop::sample::select(vec![
            "kind", "clips", "start", "end", "crop", "time", "x", "y", "width", "height", "trim", "segments", "speed",
            "output", "fps", "crf", "preset", "upscale", "fidelity", "detect", "rule", "every", "times", "video_id",
            "rotation", "name", "transition", "duration", "confidence", "source", "export_id", "regions", "keyframes",
            "space", "radius_x", "radius_y", "color", "stroke_opacity", "texts", "text", "size", "style", "mode",
            "notes", "rating", "tags",
        ]).prop_map(str::to_owned),
        1 => ".{0,6}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0.0..20.0).prop_map(Value::from),
        prop::sample::select(vec!["framing", "opening", "cut", "ai", "copy", "#FFD54F", ""]).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 80, 10, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..10)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A framing request that is right, from a few numbers.
fn good_request() -> impl Strategy<Value = Value> {
    let keyframe = (0.1..1.0, 0.0..1.0, 0.0..1.0, 200.0..1000.0);
    let clip = (0.0..5.0, 0.5..4.0, -45.0..45.0, prop::collection::vec(keyframe, 0..5), "[a-zà-ü]{0,9}");
    let fps = prop::sample::select(vec![24.0, 25.0, 29.97, 30.0, 50.0, 59.94, 12.5]);
    (prop::collection::vec(clip, 1..4), fps, 0..=51_u8, 0.0..=1.0).prop_map(|(clips, fps, crf, fidelity)| {
        let clips = clips.into_iter().map(|(start, length, rotation, crop, name)| {
            let mut time = 0.0;
            let crop = crop.into_iter().map(|(step, x, y, height)| {
                time += step;
                let width = height * 9.0 / 16.0;
                let (x, y) = (x * (1920.0 - width), y * (1080.0 - height));
                json!({"time": time, "x": x, "y": y, "width": width, "height": height})
            });
            let crop: Vec<Value> = crop.collect();
            json!({"start": start, "end": start + length, "rotation": rotation, "name": name, "crop": crop,
                   "trim": {"start": length * 0.125, "end": length * 0.75}})
        });
        json!({"kind": "framing", "clips": clips.collect::<Vec<_>>(),
               "output": {"fps": fps, "crf": crf}, "upscale": {"fidelity": fidelity},
               "detect": {"rule": {"every": fidelity + 0.5}}})
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_json_makes_the_parser_panic(value in any_json(), named: bool) {
        let rule = if named { SourceRule::Named } else { SourceRule::Implied };
        for mut request in [value.clone(), json!({"clips": value, "regions": value, "texts": value})] {
            for kind in ExportKind::ALL.iter().map(|kind| kind.name()) {
                if let Some(fields) = request.as_object_mut() {
                    fields.insert("kind".to_owned(), json!(kind));
                }
                let parsed = spec::parse(&request, rule);
                prop_assert!(parsed.spec.is_some() || !parsed.errors.is_empty());
                if let Some(spec) = parsed.spec {
                    spec.check(&vec![Some(source(rate(25, 1), 250)); spec.sources().len()]);
                }
            }
        }
    }

    #[test]
    fn what_is_written_is_read_again(request in good_request()) {
        let parsed = spec::parse(&request, SourceRule::Implied);
        prop_assert_eq!(&parsed.errors, &[]);
        let spec = parsed.spec.expect("a spec");
        prop_assert_eq!(spec.check(&vec![Some(source(rate(25, 1), 250)); spec.sources().len()]), []);
        let written = serde_json::to_value(&spec).expect("a spec is JSON");
        let again = spec::parse(&written, SourceRule::Implied);
        prop_assert_eq!(again.errors, []);
        prop_assert_eq!(again.spec.as_ref(), Some(&spec));
        prop_assert_eq!(serde_json::from_value::<ExportSpec>(written).expect("serde reads it too"), spec);
    }
}
