//! Reads an overlay request and judges what can be judged without its source.

use serde_json::Value;

use super::{
    DEFAULT_COLOR, DEFAULT_FILL_OPACITY, DEFAULT_SIZE, DEFAULT_STROKE_OPACITY, Effect, OverlaySource, OverlaySpec,
    Region, Shape, Space, SpotKeyframe, SpotStyle, TextEdit,
};
use crate::color::Rgb;
use crate::rational::{MAX_SECONDS, seconds_from_f64};
use crate::spec::SourceRule;
use crate::spec::encoding;
use crate::spec::limits::check_keyframes;
use crate::spec::reader::{Errors, Given, Object};
use crate::spec::time_range::TimeRange;

const MAX_REGIONS: usize = 500;
const MAX_KEYFRAMES: usize = 2000;
const MAX_TEXTS: usize = 200;
const MAX_TEXT: usize = 500;
/// Twice the largest source a side: a spotlight may well leave the picture.
const MAX_PIXELS: f64 = 16384.0;
/// Bound on opacities in a request; what is drawn is clamped to 0 to 1.
const MAX_OPACITY: f64 = 1e6;

pub(in crate::spec) fn read(object: &mut Object, rule: SourceRule, errors: &mut Errors) -> OverlaySpec {
    let effects =
        [("dark_overlay", Effect::DarkOverlay), ("brightness_boost", Effect::BrightnessBoost), ("none", Effect::None)];
    let shapes = [("ellipse", Shape::Ellipse), ("ground", Shape::Ground)];
    OverlaySpec {
        source: read_source(object, rule, errors),
        effect: object.word("effect", &effects, errors).or(Effect::default()),
        shape: object.word("shape", &shapes, errors).or(Shape::default()),
        style: object.object("style", errors).ok().map(|fields| read_style(fields, errors)).unwrap_or_default(),
        regions: read_regions(object, errors),
        texts: read_texts(object, errors),
        output: encoding::read(object, errors),
    }
}

/// The source: one of two ids over HTTP, nothing on the command line.
fn read_source(object: &mut Object, rule: SourceRule, errors: &mut Errors) -> Option<OverlaySource> {
    let given = match rule {
        SourceRule::Named => {
            let given = object.object("source", errors);
            object.required("source", given, errors)
        }
        SourceRule::Implied => {
            if object.any("source").is_some() {
                let detail = "the input file is the source: leave `source` out";
                errors.push(object.at("source"), "not_allowed", detail);
            }
            return None;
        }
    };
    let mut fields = given.ok()?;
    let (export, video) = (fields.uuid("export_id", errors), fields.uuid("video_id", errors));
    let source = match (export, video) {
        (Given::Absent, Given::Absent) => {
            errors.push(object.at("source"), "required", "say `export_id` or `video_id`");
            None
        }
        (Given::Absent, video) => video.ok().map(OverlaySource::Video),
        (export, Given::Absent) => export.ok().map(OverlaySource::Export),
        _ => {
            errors.push(fields.at("video_id"), "not_allowed", "say `export_id` or `video_id`, not both");
            None
        }
    };
    fields.close(errors);
    source
}

fn read_style(mut fields: Object, errors: &mut Errors) -> SpotStyle {
    let default = SpotStyle::default();
    let style = SpotStyle {
        stroke_width: fields.number("stroke_width", 0.0..=200.0, errors).or(default.stroke_width),
        fill: fields.flag("fill", errors).or(default.fill),
        dim: fields.number("dim", 0.0..=1.0, errors).or(default.dim),
    };
    fields.close(errors);
    style
}

fn read_regions(object: &mut Object, errors: &mut Errors) -> Vec<Region> {
    let list = object.list("regions", MAX_REGIONS, errors).or(&[]);
    if !check_keyframes(object, "regions", list, "keyframes", errors) {
        return Vec::new();
    }
    let mut good = Vec::new();
    let regions = list.iter().enumerate().map(|(i, value)| {
        let Some(fields) = Object::open(value, object.at(&format!("regions/{i}")), errors) else {
            return Region::default();
        };
        let (region, range) = read_region(fields, errors);
        good.extend(range.map(|(start, end)| (start, end, i)));
        region
    });
    let regions = regions.collect();
    refuse_overlaps(good, object, errors);
    regions
}

/// A region, and its range when that is good.
fn read_region(mut fields: Object, errors: &mut Errors) -> (Region, Option<(f64, f64)>) {
    let range = TimeRange::read(&mut fields, errors).good();
    let space = fields.object("space", errors).ok().and_then(|space| read_space(space, errors));
    let list = fields.list("keyframes", MAX_KEYFRAMES, errors).or(&[]);
    let keyframes = read_keyframes(list, &fields.at("keyframes"), errors);
    fields.close(errors);
    let (start, end) = range.unwrap_or((0.0, 0.0));
    (Region { start, end, space, keyframes }, range)
}

fn read_space(mut fields: Object, errors: &mut Errors) -> Option<Space> {
    let mut side = |name: &'static str| {
        let given = fields.whole(name, 1..=MAX_PIXELS as u32, errors);
        fields.required(name, given, errors).ok()
    };
    let (width, height) = (side("width"), side("height"));
    fields.close(errors);
    Some(Space { width: width?, height: height? })
}

/// Keyframes, whose times must rise.
fn read_keyframes(list: &[Value], pointer: &str, errors: &mut Errors) -> Vec<SpotKeyframe> {
    let mut latest: Option<f64> = None;
    let mut keyframes = Vec::with_capacity(list.len());
    for (j, value) in list.iter().enumerate() {
        // A broken one keeps its place: later checks name keyframes by their index.
        let Some(mut fields) = Object::open(value, format!("{pointer}/{j}"), errors) else {
            keyframes.push(HARMLESS);
            continue;
        };
        let given = fields.number("time", 0.0..=MAX_SECONDS, errors);
        let time = fields.required("time", given, errors).ok();
        if let (Some(time), Some(latest)) = (time, latest)
            && seconds_from_f64(time) <= seconds_from_f64(latest)
        {
            let detail = format!("{time} s is not after the keyframe before it, at {latest} s");
            errors.push(fields.at("time"), "out_of_order", detail);
        }
        latest = time.or(latest);
        keyframes.push(read_keyframe(fields, time.unwrap_or(0.0), errors));
    }
    keyframes
}

/// Stands in for a keyframe that could not be read.
const HARMLESS: SpotKeyframe = SpotKeyframe {
    time: 0.0,
    x: 0.0,
    y: 0.0,
    radius_x: 1.0,
    radius_y: 1.0,
    color: DEFAULT_COLOR,
    stroke_opacity: DEFAULT_STROKE_OPACITY,
    fill_opacity: DEFAULT_FILL_OPACITY,
};

fn read_keyframe(mut fields: Object, time: f64, errors: &mut Errors) -> SpotKeyframe {
    let mut position = |name: &'static str, from: f64| {
        let given = fields.number(name, from..=MAX_PIXELS, errors);
        fields.required(name, given, errors).ok()
    };
    let centre = (position("x", -MAX_PIXELS), position("y", -MAX_PIXELS));
    let radii = (position("radius_x", 0.0), position("radius_y", 0.0));
    for (name, radius) in [("radius_x", radii.0), ("radius_y", radii.1)] {
        if radius == Some(0.0) {
            errors.push(fields.at(name), "out_of_range", "a radius must be above 0");
        }
    }
    let keyframe = SpotKeyframe {
        time,
        x: centre.0.unwrap_or(HARMLESS.x),
        y: centre.1.unwrap_or(HARMLESS.y),
        radius_x: radii.0.unwrap_or(HARMLESS.radius_x),
        radius_y: radii.1.unwrap_or(HARMLESS.radius_y),
        color: fields.color("color", errors).or(DEFAULT_COLOR),
        stroke_opacity: read_opacity(&mut fields, "stroke_opacity", errors).or(DEFAULT_STROKE_OPACITY),
        fill_opacity: read_opacity(&mut fields, "fill_opacity", errors).or(DEFAULT_FILL_OPACITY),
    };
    fields.close(errors);
    keyframe
}

fn read_opacity(fields: &mut Object, name: &'static str, errors: &mut Errors) -> Given<f64> {
    fields.number(name, -MAX_OPACITY..=MAX_OPACITY, errors)
}

/// Two spotlights at a time are refused, at the region that starts later; regions may touch and stand in any order.
fn refuse_overlaps(mut ranges: Vec<(f64, f64, usize)>, object: &Object, errors: &mut Errors) {
    ranges.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cmp(&b.2)));
    let mut before: Option<(f64, usize)> = None;
    for (start, end, i) in ranges {
        if let Some((latest, other)) = before.filter(|(latest, _)| seconds_from_f64(start) < seconds_from_f64(*latest))
        {
            let detail = format!("starts at {start} s, but region {other} ends at {latest} s: regions do not overlap");
            errors.push(object.at(&format!("regions/{i}/start")), "overlap", detail);
        }
        if before.is_none_or(|(latest, _)| end > latest) {
            before = Some((end, i));
        }
    }
}

fn read_texts(object: &mut Object, errors: &mut Errors) -> Vec<TextEdit> {
    let list = object.list("texts", MAX_TEXTS, errors).or(&[]);
    let texts = list.iter().enumerate().map(|(i, value)| {
        let fields = Object::open(value, object.at(&format!("texts/{i}")), errors);
        fields.map_or_else(silent_text, |fields| read_text(fields, errors))
    });
    texts.collect()
}

fn read_text(mut fields: Object, errors: &mut Errors) -> TextEdit {
    let text = fields.text("text", MAX_TEXT, errors);
    let text = fields.required("text", text, errors).or(String::new());
    let (start, end) = TimeRange::read(&mut fields, errors).good().unwrap_or((0.0, 0.0));
    let mut place = |name: &'static str| {
        let given = fields.number(name, 0.0..=1.0, errors);
        fields.required(name, given, errors).or(0.5)
    };
    let (x, y) = (place("x"), place("y"));
    let size = fields.number("size", 1.0..=1000.0, errors).or(DEFAULT_SIZE);
    let color = fields.color("color", errors).or(Rgb::WHITE);
    fields.close(errors);
    TextEdit { text, start, end, x, y, size, color }
}

/// Stands in for a text that could not be read.
fn silent_text() -> TextEdit {
    TextEdit { text: String::new(), start: 0.0, end: 0.0, x: 0.5, y: 0.5, size: DEFAULT_SIZE, color: Rgb::WHITE }
}
