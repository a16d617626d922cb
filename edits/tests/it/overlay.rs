//! Overlay plans: which frames change, and where the spotlight is on them.

use crate::common::{rate, source, variable_source};
use edits::{Ellipse, ExportSpec, OverlayPlan, OverlaySpec, Rgb, SourceFacts, SourceRule, Spotlight, spec};
use proptest::prelude::*;
use serde_json::{Value, json};

fn overlay(request: &Value) -> OverlaySpec {
    let parsed = spec::parse(request, SourceRule::Implied);
    assert_eq!(parsed.errors, [], "{request}");
    match parsed.spec {
        Some(ExportSpec::Overlay(spec)) => spec,
        other => panic!("not an overlay: {other:?}"),
    }
}

/// Ten seconds of 1920x1080 at 25 fps.
fn ten_seconds() -> SourceFacts {
    source(rate(25, 1), 250)
}

fn plan(request: &Value) -> OverlayPlan {
    OverlayPlan::new(&overlay(request), &ten_seconds())
}

fn spot(plan: &OverlayPlan, frame: usize) -> Spotlight {
    plan.drawn(frame).spotlight.unwrap_or_else(|| panic!("a spotlight on frame {frame}"))
}

fn touched(plan: &OverlayPlan) -> Vec<(usize, usize)> {
    plan.touched().into_iter().map(|frames| (frames.start, frames.end)).collect()
}

fn keyframe(time: f64, x: f64, radius_x: f64, color: &str) -> Value {
    json!({"time": time, "x": x, "y": 540, "radius_x": radius_x, "radius_y": 100, "color": color,
           "stroke_opacity": 0.8, "fill_opacity": 0.2})
}

/// One region from 1 s to 5 s, with keyframes at 2, 3 and 4 s.
fn request() -> Value {
    let keyframes = [(2.0, 100.0, 40.0, "#FF0000"), (3.0, 200.0, 60.0, "#00FF00"), (4.0, 600.0, 60.0, "#0000FF")];
    let keyframes = keyframes.map(|(time, x, radius, color)| keyframe(time, x, radius, color));
    json!({"kind": "overlay", "style": {"dim": 0.4}, "regions": [{"start": 1, "end": 5, "keyframes": keyframes}]})
}

#[test]
fn it_is_drawn_from_the_start_to_the_last_keyframe() {
    let plan = plan(&request());
    // 4 s is frame 100, the last one.
    assert_eq!(touched(&plan), [(25, 101)]);
    assert_eq!([24, 25, 100, 101].map(|n| plan.drawn(n).spotlight.is_some()), [false, true, true, false]);
    assert_eq!(spot(&plan, 25), spot(&plan, 50));
    let mut request = request();
    request["regions"][0]["end"] = json!(4.0);
    assert_eq!(touched(&OverlayPlan::new(&overlay(&request), &ten_seconds())), [(25, 100)]);
}

#[test]
fn properties_follow_the_spline_and_the_colour_the_earlier_keyframe() {
    let plan = plan(&request());
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    // Halfway from the second to the third of 100, 200, 600, 600: (-100 + 9·200 + 9·600 - 600) / 16.
    let third = spot(&plan, 87);
    let u: f64 = 0.48;
    let exact = 0.5
        * (400.0
            + (600.0 - 100.0) * u
            + (200.0 - 1000.0 + 2400.0 - 600.0) * u * u
            + (600.0 - 1800.0 + 600.0 - 100.0) * u.powi(3));
    close(third.ellipse.cx, exact);
    assert_eq!(third.stroke.expect("a stroke").color, Rgb::new(0, 255, 0));
    assert_eq!(spot(&plan, 75).ellipse, Ellipse { cx: 200.0, cy: 540.0, rx: 60.0, ry: 100.0 });
    assert_eq!(spot(&plan, 74).stroke.expect("a stroke").color, Rgb::new(255, 0, 0));
    close(third.dim, 0.4);
    assert_eq!(third.fill, None);
}

#[test]
fn a_held_value_does_not_move() {
    let plan = plan(&request());
    assert!((25..100).all(|n| spot(&plan, n).ellipse.cy == 540.0 && spot(&plan, n).ellipse.ry == 100.0));
}

#[test]
fn it_fades_out_at_the_end_of_its_region() {
    let held = |start: f64, end: f64| {
        let keyframes = json!([keyframe(start, 100.0, 40.0, "#FF8000"), keyframe(end, 100.0, 40.0, "#FF8000")]);
        let region = json!({"start": start, "end": end, "keyframes": keyframes});
        plan(&json!({"kind": "overlay", "style": {"dim": 0.4, "fill": true}, "regions": [region]}))
    };
    let strengths = |plan: &OverlayPlan, frame: usize| {
        let spot = spot(plan, frame);
        let opacities = [spot.fill.map(|p| p.opacity), spot.outline.map(|s| s.opacity), spot.stroke.map(|s| s.opacity)];
        [spot.dim, opacities[0].expect("fill"), opacities[1].expect("outline"), opacities[2].expect("stroke")]
    };
    let near = |found: [f64; 4], q: f64| {
        for (found, full) in found.into_iter().zip([0.4, 0.2, 0.4, 0.8]) {
            assert!((found - full * q * q).abs() < 1e-9, "{found} is not {full} · {q}²");
        }
    };
    let long = held(1.0, 3.0);
    near(strengths(&long, 68), 1.0);
    near(strengths(&long, 70), 0.8);
    near(strengths(&long, 74), 0.16);
    // Half of 0.24 s.
    let short = held(1.0, 1.24);
    near(strengths(&short, 28), 1.0);
    near(strengths(&short, 29), 2.0 / 3.0);
}

#[test]
fn keyframes_are_scaled_from_their_space_and_strokes_from_1080_lines() {
    let mut request = request();
    request["regions"][0]["space"] = json!({"width": 960, "height": 2160});
    request["style"]["stroke_width"] = json!(6.4);
    let found = spot(&plan(&request), 75);
    assert_eq!(found.ellipse, Ellipse { cx: 400.0, cy: 270.0, rx: 120.0, ry: 50.0 });
    let lines = |height: u32, width: f64| {
        let mut request = request.clone();
        request["style"]["stroke_width"] = json!(width);
        let plan = OverlayPlan::new(&overlay(&request), &SourceFacts { height, ..ten_seconds() });
        let spot = spot(&plan, 75);
        (spot.stroke.expect("a stroke").width, spot.outline.expect("an outline").width)
    };
    assert_eq!(lines(1080, 6.4), (6.0, 8.0));
    assert_eq!(lines(2160, 6.4), (13.0, 15.0));
    assert_eq!(lines(360, 0.0), (2.0, 4.0));
    let outline = found.outline.expect("an outline");
    assert_eq!((outline.color, outline.arc), (Rgb::new(0, 77, 0), None));
    assert!((outline.opacity - 0.4).abs() < 1e-12);
}

#[test]
fn a_ground_ellipse_lies_at_the_feet() {
    let mut request = request();
    request["shape"] = json!("ground");
    let found = spot(&plan(&request), 75);
    let Ellipse { cx, cy, rx, ry } = found.ellipse;
    for (found, wanted) in [(cx, 200.0), (cy, 540.0 + 100.0 / 1.3), (rx, 120.0 / 1.3), (ry, 30.0)] {
        assert!((found - wanted).abs() < 1e-9, "{found} is not {wanted}");
    }
    assert_eq!(found.fill.map(|fill| fill.opacity), Some(0.2));
    assert_eq!(found.stroke.expect("a stroke").arc, Some((-30.0, 210.0)));
    assert_eq!(found.outline.expect("an outline").arc, Some((-30.0, 210.0)));
}

#[test]
fn touched_stretches_are_merged() {
    let text = |text: &str, start: f64, end: f64| json!({"text": text, "start": start, "end": end, "x": 0.5, "y": 0.1});
    let keyframes = json!([keyframe(9.0, 1.0, 1.0, "#FFFFFF")]);
    let region = |start: f64, end: f64| json!({"start": start, "end": end, "keyframes": keyframes});
    let request = json!({"kind": "overlay",
        "regions": [region(6.0, 7.0), region(1.0, 2.0), {"start": 8, "end": 9}],
        "texts": [text("b", 1.5, 3.0), text(" \n ", 4.0, 5.0), text("a\nb", 3.0, 3.5), text("c", 9.96, 10.0)]});
    let plan = plan(&request);
    assert_eq!(touched(&plan), [(25, 88), (150, 175), (249, 250)]);
    assert_eq!(plan.texts().iter().map(|text| text.text.as_str()).collect::<Vec<_>>(), ["b", "a b", "c"]);
    assert_eq!((plan.texts()[0].cx, plan.texts()[0].cy, plan.texts()[0].size), (960.0, 108.0, 48.0));
    assert_eq!([40, 75, 88, 249].map(|n| plan.drawn(n).texts), [vec![0], vec![1], vec![], vec![2]]);
    assert!(plan_is_empty(&json!({"kind": "overlay"})));
}

fn plan_is_empty(request: &Value) -> bool {
    plan(request).touched().is_empty()
}

#[test]
fn variable_frame_times_are_the_frames_own() {
    let source = variable_source(vec![5, 38, 72, 305, 338, 600]);
    let keyframes = json!([keyframe(0.0, 0.0, 9.0, "#FFFFFF"), keyframe(1.0 / 3.0, 100.0, 9.0, "#FFFFFF")]);
    let request = json!({"kind": "overlay", "regions": [{"start": 0.033, "end": 0.6, "keyframes": keyframes}]});
    let plan = OverlayPlan::new(&overlay(&request), &source);
    // 338 ms is 333 ms after the first frame, a third of a millisecond before the last keyframe.
    assert_eq!(touched(&plan), [(1, 5)]);
    let x = spot(&plan, 3).ellipse.cx;
    assert!((85.0..100.0).contains(&x), "{x}");
}

fn keyframes() -> impl Strategy<Value = Vec<(f64, f64, f64, f64)>> {
    prop::collection::vec((0.05..1.5, -500.0..2500.0, 0.001..900.0, -3.0..3.0), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn what_is_drawn_is_always_drawable(steps in keyframes(), start in 0.0..8.0, length in 0.01..1.9, ground: bool) {
        let mut time = 0.0;
        let keyframes: Vec<Value> = steps.iter().map(|&(step, x, radius, opacity)| {
            let keyframe = json!({"time": time, "x": x, "y": -x, "radius_x": radius, "radius_y": 900.1 - radius,
                                  "stroke_opacity": opacity, "fill_opacity": -opacity});
            time = f64::min(time + step, 9.9 + time / 1e6);
            keyframe
        }).collect();
        let shape = if ground { "ground" } else { "ellipse" };
        let request = json!({"kind": "overlay", "shape": shape,
                             "regions": [{"start": start, "end": start + length, "keyframes": keyframes}]});
        let plan = plan(&request);
        let touched = plan.touched();
        for n in 0..plan.frames() {
            let drawn = plan.drawn(n);
            prop_assert_eq!(drawn.spotlight.is_some(), touched.iter().any(|frames| frames.contains(&n)));
            let Some(spot) = drawn.spotlight else { continue };
            prop_assert!(spot.ellipse.rx >= 0.5 && spot.ellipse.ry >= 0.5, "{:?}", spot.ellipse);
            let lines = [spot.stroke, spot.outline].into_iter().flatten().map(|line| line.opacity);
            for opacity in lines.chain(spot.fill.map(|fill| fill.opacity)).chain([spot.dim]) {
                prop_assert!((0.0..=1.0).contains(&opacity), "{opacity}");
            }
        }
    }
}
