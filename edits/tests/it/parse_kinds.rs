//! Requests for overlays, annotated compilations and clips, right and wrong.

use crate::common::{errors, pointers, rate, source};
use edits::{Effect, Encoding, ExportSpec, OverlaySource, Rgb, Shape, SourceRef, SourceRule, spec};
use serde_json::{Value, json};

const ID: &str = "0192f0c4-7d3a-7cc1-8f5b-0a1b2c3d4e5f";

/// Every mistake of a request about ten seconds of 1920x1080 at 25 fps.
fn mistakes(request: &Value) -> Vec<(String, String)> {
    errors(request, SourceRule::Implied, &source(rate(25, 1), 250))
}

fn fine(request: Value) {
    assert_eq!(mistakes(&request), [], "{request}");
}

fn expect(request: Value, pointer: &str, code: &str) {
    assert_eq!(mistakes(&request), [(pointer.to_owned(), code.to_owned())], "{request}");
}

/// `base` with the fields of `extra`.
fn with(mut base: Value, extra: Value) -> Value {
    let Value::Object(extra) = extra else { panic!("not an object: {extra}") };
    base.as_object_mut().expect("an object").extend(extra);
    base
}

fn keyframe(time: f64) -> Value {
    json!({"time": time, "x": 300, "y": 700, "radius_x": 60, "radius_y": 110})
}

fn region(start: f64, end: f64) -> Value {
    json!({"start": start, "end": end, "space": {"width": 810, "height": 1440}, "keyframes": [keyframe(start)]})
}

fn overlay(regions: Value) -> Value {
    json!({"kind": "overlay", "regions": regions})
}

fn read(request: &Value, rule: SourceRule) -> ExportSpec {
    let parsed = spec::parse(request, rule);
    assert_eq!(parsed.errors, [], "{request}");
    parsed.spec.expect("a spec")
}

#[test]
fn an_overlay_is_read_with_its_defaults() {
    let ExportSpec::Overlay(empty) = read(&json!({"kind": "overlay"}), SourceRule::Implied) else {
        panic!("no overlay")
    };
    assert_eq!((empty.effect, empty.shape), (Effect::DarkOverlay, Shape::Ellipse));
    assert_eq!((empty.style.stroke_width, empty.style.fill, empty.style.dim), (2.0, false, 0.15));
    assert_eq!(empty.output, Encoding { crf: 23, preset: "fast".to_owned() });
    let text = json!({"text": "Nr. 7", "start": 1, "end": 3, "x": 0.5, "y": 0.1});
    let full = with(overlay(json!([region(1.0, 3.0)])), json!({"texts": [text], "output": {"crf": 18}}));
    let ExportSpec::Overlay(full) = read(&full, SourceRule::Implied) else { panic!("no overlay") };
    let keyframe = full.regions[0].keyframes[0];
    assert_eq!((keyframe.stroke_opacity, keyframe.fill_opacity), (0.85, 0.05));
    assert_eq!(keyframe.color, Rgb::new(0xFF, 0xD5, 0x4F));
    assert_eq!((full.texts[0].size, full.texts[0].color), (48.0, Rgb::WHITE));
    assert_eq!(full.output, Encoding { crf: 18, preset: "fast".to_owned() });
}

#[test]
fn every_kind_is_written_as_it_is_read() {
    let text = json!({"text": "Nr. 7", "start": 1, "end": 3, "x": 0.5, "y": 0.1});
    let style = json!({"fill": true, "dim": 0.5});
    let overlay = with(
        overlay(json!([region(1.0, 3.0)])),
        json!({"texts": [text], "style": style, "shape": "ground",
        "effect": "brightness_boost", "source": {"export_id": ID}}),
    );
    let note = json!({"start": 1, "end": 2, "name": "A", "notes": "b", "rating": 5, "tags": ["Goal"]});
    let annotated = json!({"kind": "annotated", "video_id": ID, "clips": [note, {"start": 0, "end": 1}]});
    let clip = json!({"kind": "clip", "video_id": ID, "start": 1, "end": 2, "mode": "encode"});
    for request in [overlay, annotated, clip] {
        let spec = read(&request, SourceRule::Named);
        let written = serde_json::to_value(&spec).expect("a spec is JSON");
        assert_eq!(read(&written, SourceRule::Named), spec);
        assert_eq!(serde_json::from_value::<ExportSpec>(written).expect("serde reads it too"), spec);
    }
}

#[test]
fn an_overlay_is_on_an_export_or_a_video() {
    let on = |source: Value| json!({"kind": "overlay", "source": source});
    let spec = read(&on(json!({"export_id": ID})), SourceRule::Named);
    assert_eq!(
        (spec.sources(), spec.source_pointer(0)),
        (vec![Some(SourceRef::Export(ID))], "/source/export_id".into())
    );
    let spec = read(&on(json!({"video_id": ID})), SourceRule::Named);
    assert_eq!((spec.sources(), spec.source_pointer(0)), (vec![Some(SourceRef::Video(ID))], "/source/video_id".into()));
    let ExportSpec::Overlay(overlay) = spec else { panic!("no overlay") };
    assert_eq!(overlay.source, Some(OverlaySource::Video(ID.to_owned())));
    let wrong = |source: Value, rule| errors(&on(source), rule, &source_of_tests());
    let error = |pointer: &str, code: &str| vec![(pointer.to_owned(), code.to_owned())];
    assert_eq!(wrong(Value::Null, SourceRule::Named), error("/source", "required"));
    assert_eq!(wrong(json!({}), SourceRule::Named), error("/source", "required"));
    assert_eq!(wrong(json!({"video_id": "x"}), SourceRule::Named), error("/source/video_id", "invalid_id"));
    let both = json!({"video_id": ID, "export_id": ID});
    assert_eq!(wrong(both, SourceRule::Named), error("/source/video_id", "not_allowed"));
    let unknown = json!({"video_id": ID, "clip": 1});
    assert_eq!(wrong(unknown, SourceRule::Named), error("/source/clip", "unknown_field"));
    assert_eq!(wrong(json!({"video_id": ID}), SourceRule::Implied), error("/source", "not_allowed"));
}

fn source_of_tests() -> edits::SourceFacts {
    source(rate(25, 1), 250)
}

#[test]
fn regions_do_not_overlap_and_stay_in_the_video() {
    fine(overlay(json!([region(3.0, 4.0), region(1.0, 3.0), region(9.0, 10.04)])));
    fine(overlay(json!([{"start": 0, "end": 1}])));
    expect(overlay(json!([region(3.0, 4.0), region(1.0, 3.001)])), "/regions/0/start", "overlap");
    expect(overlay(json!([region(1.0, 9.0), region(2.0, 3.0)])), "/regions/1/start", "overlap");
    let nested = overlay(json!([region(1.0, 9.0), region(2.0, 3.0), region(4.0, 5.0)]));
    assert_eq!(mistakes(&nested).len(), 2);
    expect(overlay(json!([region(3.0, 3.0)])), "/regions/0/end", "empty_range");
    expect(overlay(json!([region(9.0, 10.041)])), "/regions/0/end", "outside_video");
    expect(overlay(json!([{"start": 10, "end": 10.04}])), "/regions/0/start", "outside_video");
    expect(overlay(json!([{"start": -1, "end": 1}])), "/regions/0/start", "out_of_range");
    expect(overlay(json!([{"start": 1}])), "/regions/0/end", "required");
    let mut late = region(1.0, 2.0);
    late["keyframes"][0]["time"] = json!(10.05);
    expect(overlay(json!([late])), "/regions/0/keyframes/0/time", "outside_video");
}

#[test]
fn keyframes_are_bounded_and_in_order() {
    let one = |field: &str, value: Value| {
        let mut region = region(1.0, 2.0);
        region["keyframes"][0][field] = value;
        overlay(json!([region]))
    };
    let at = |field: &str| format!("/regions/0/keyframes/0/{field}");
    expect(one("radius_x", json!(0)), &at("radius_x"), "out_of_range");
    expect(one("radius_y", json!(-1)), &at("radius_y"), "out_of_range");
    expect(one("x", json!(1e300)), &at("x"), "out_of_range");
    expect(one("x", Value::Null), &at("x"), "required");
    expect(one("color", json!("red")), &at("color"), "invalid_color");
    expect(one("color", json!(7)), &at("color"), "wrong_type");
    expect(one("stroke_opacity", json!("1")), &at("stroke_opacity"), "wrong_type");
    expect(one("blur", json!(1)), &at("blur"), "unknown_field");
    fine(one("stroke_opacity", json!(1.5)));
    fine(one("fill_opacity", json!(-0.5)));
    let mut twice = region(1.0, 2.0);
    twice["keyframes"] = json!([keyframe(1.5), keyframe(1.5)]);
    expect(overlay(json!([twice])), "/regions/0/keyframes/1/time", "out_of_order");
    let mut small = region(1.0, 2.0);
    small["space"] = json!({"width": 0, "height": 10});
    expect(overlay(json!([small])), "/regions/0/space/width", "out_of_range");
    small["space"] = json!({"width": 10});
    expect(overlay(json!([small])), "/regions/0/space/height", "required");
}

#[test]
fn floods_are_one_error_each() {
    let regions = |count: usize, keyframes: usize| {
        let region = |i: usize| {
            let start = i as f64 / 100.0;
            let keyframes: Vec<Value> = (0..keyframes).map(|k| keyframe(k as f64 / 1000.0)).collect();
            json!({"start": start, "end": start + 0.01, "keyframes": keyframes})
        };
        overlay((0..count).map(region).collect())
    };
    expect(regions(501, 0), "/regions", "too_many");
    expect(regions(1, 2001), "/regions/0/keyframes", "too_many");
    expect(regions(6, 1700), "/regions", "too_many");
    fine(regions(5, 2000));
    let text = json!({"text": "a", "start": 1, "end": 2, "x": 0, "y": 0});
    expect(json!({"kind": "overlay", "texts": vec![text; 201]}), "/texts", "too_many");
    let clips = vec![json!({"start": 1, "end": 2}); 501];
    expect(json!({"kind": "annotated", "clips": clips}), "/clips", "too_many");
}

#[test]
fn texts_and_styles_are_bounded() {
    let text = |extra: Value| {
        let text = with(json!({"text": "Nr. 7", "start": 1, "end": 3, "x": 0.5, "y": 0.1}), extra);
        json!({"kind": "overlay", "texts": [text]})
    };
    fine(text(json!({"text": "", "size": 1000, "color": "#00ff00"})));
    expect(text(json!({"text": "x".repeat(501)})), "/texts/0/text", "too_long");
    expect(text(json!({"x": 1.1})), "/texts/0/x", "out_of_range");
    expect(text(json!({"size": 0})), "/texts/0/size", "out_of_range");
    expect(text(json!({"end": 0.5})), "/texts/0/end", "empty_range");
    expect(text(json!({"start": 11, "end": 10})), "/texts/0/end", "empty_range");
    expect(text(json!({"end": 11})), "/texts/0/end", "outside_video");
    expect(text(json!({"font": "serif"})), "/texts/0/font", "unknown_field");
    let overlay = |field: &str, value: Value| json!({"kind": "overlay", field: value});
    expect(overlay("effect", json!("sepia")), "/effect", "unknown_value");
    expect(overlay("shape", json!("square")), "/shape", "unknown_value");
    expect(overlay("style", json!({"dim": 1.1})), "/style/dim", "out_of_range");
    expect(overlay("style", json!({"fill": 1})), "/style/fill", "wrong_type");
    expect(overlay("style", json!({"stroke_width": -1})), "/style/stroke_width", "out_of_range");
    expect(overlay("output", json!({"crf": 52})), "/output/crf", "out_of_range");
    expect(overlay("output", json!({"width": 100})), "/output/width", "unknown_field");
}

#[test]
fn a_compilation_is_refused_for_its_form_and_not_for_its_ranges() {
    let one = |extra: Value| json!({"kind": "annotated", "clips": [with(json!({"start": 1, "end": 2}), extra)]});
    fine(one(json!({})));
    fine(one(json!({"end": 0.5})));
    fine(one(json!({"start": 75, "end": 80})));
    let ExportSpec::Annotated(spec) = read(&one(json!({})), SourceRule::Implied) else { panic!("no compilation") };
    assert_eq!((spec.clips[0].rating, spec.output.crf), (3, 23));
    expect(one(json!({"start": -1})), "/clips/0/start", "out_of_range");
    expect(one(json!({"start": "1"})), "/clips/0/start", "wrong_type");
    expect(one(json!({"end": null})), "/clips/0/end", "required");
    expect(one(json!({"rating": 6})), "/clips/0/rating", "out_of_range");
    expect(one(json!({"rating": 2.5})), "/clips/0/rating", "wrong_type");
    expect(one(json!({"tags": "Goal"})), "/clips/0/tags", "wrong_type");
    expect(one(json!({"tags": ["Goal", 7]})), "/clips/0/tags/1", "wrong_type");
    expect(one(json!({"name": "x".repeat(1001)})), "/clips/0/name", "too_long");
    expect(one(json!({"colour": 1})), "/clips/0/colour", "unknown_field");
    expect(json!({"kind": "annotated"}), "/clips", "required");
    expect(json!({"kind": "annotated", "clips": []}), "/clips", "too_few");
    let unnamed = one(json!({}));
    assert_eq!(pointers(&unnamed, SourceRule::Named, &source_of_tests()), ["/video_id"]);
}

#[test]
fn a_clip_lies_in_its_video() {
    let clip = |extra: Value| with(json!({"kind": "clip", "start": 1, "end": 2}), extra);
    fine(clip(json!({})));
    fine(clip(json!({"mode": "encode", "output": {"preset": "slow"}, "end": 10.04})));
    expect(clip(json!({"mode": "move"})), "/mode", "unknown_value");
    expect(clip(json!({"end": 1})), "/end", "empty_range");
    expect(clip(json!({"end": 10.05})), "/end", "outside_video");
    expect(clip(json!({"start": 10, "end": 10.04})), "/start", "outside_video");
    expect(clip(json!({"start": 1.001, "end": 1.039})), "/end", "empty_range");
    expect(clip(json!({"video_id": ID})), "/video_id", "not_allowed");
    assert_eq!(pointers(&clip(json!({})), SourceRule::Named, &source_of_tests()), ["/video_id"]);
    let ExportSpec::Clip(spec) = read(&clip(json!({"start": 1.01})), SourceRule::Implied) else { panic!("no clip") };
    assert_eq!(spec.range(&source_of_tests()), 26..50);
}
