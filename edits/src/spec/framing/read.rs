//! Reads a framing request and judges what can be judged without its sources.

use serde_json::Value;

use super::{
    ClipEdit, Detect, DetectRule, FramingSpec, Output, SpeedSegment, Transition, TransitionKind, Trim, Upscale,
    UpscaleMode,
};
use crate::crop::{CropKeyframe, MIN_CROP};
use crate::frame_rate::FrameRate;
use crate::quality::Quality;
use crate::rational::{MAX_SECONDS, Rat, seconds_from_f64};
use crate::spec::SourceRule;
use crate::spec::encoding::{Encoding, read_settings};
use crate::spec::limits::check_keyframes;
use crate::spec::reader::{Errors, Given, Object};
use crate::spec::time_range::TimeRange;

pub(in crate::spec) const MAX_CLIPS: usize = 200;
const MAX_KEYFRAMES: usize = 2000;
const MAX_SEGMENTS: usize = 200;
const MAX_NAME: usize = 200;
/// Twice the largest source a side: enough for any crop that a later check can still explain.
const MAX_PIXELS: f64 = 16384.0;
/// How far a keyframe's width / height may be off the output's.
const ASPECT_TOLERANCE: f64 = 0.01;

pub(crate) fn read(object: &mut Object, rule: SourceRule, errors: &mut Errors) -> FramingSpec {
    let mut aspect = Some(aspect_of(&Output::default()));
    let mut output = Output::default();
    match object.object("output", errors) {
        Given::Value(fields) => (output, aspect) = read_output(fields, errors),
        Given::Absent => {}
        Given::Broken => aspect = None,
    }
    let frame = output.fps.seconds(1);
    let upscale = object.object("upscale", errors).ok().map(|fields| read_upscale(fields, errors));
    let transition = object.object("transition", errors).ok().map(|fields| read_transition(fields, errors));
    let detect = object.object("detect", errors).ok().map(|fields| read_detect(fields, errors));

    let clips = object.list("clips", MAX_CLIPS, errors);
    let clips = object.required("clips", clips, errors);
    if clips.is_empty_list() {
        errors.push(object.at("clips"), "too_few", "there are no clips; a reel needs at least one");
    }
    let clips = clips.or(&[]);
    let clips = if check_keyframes(object, "clips", clips, "crop", errors) { clips } else { &[] };
    let clips = clips.iter().enumerate().map(|(i, value)| {
        let pointer = object.at(&format!("clips/{i}"));
        Object::open(value, pointer, errors)
            .map(|fields| ClipReader { fields, rule, aspect, frame }.read(errors))
            .unwrap_or_default()
    });
    FramingSpec {
        clips: clips.collect(),
        output,
        upscale: upscale.unwrap_or_default(),
        transition: transition.unwrap_or_default(),
        detect: detect.unwrap_or_default(),
    }
}

fn aspect_of(output: &Output) -> f64 {
    f64::from(output.width) / f64::from(output.height)
}

/// The output, and its aspect if its size is a good one.
fn read_output(mut fields: Object, errors: &mut Errors) -> (Output, Option<f64>) {
    let default = Output::default();
    let mut side = |name: &'static str, fallback: u32| {
        let pointer = fields.at(name);
        let given = fields.whole(name, 16..=4096, errors).and_then(|side| {
            if side % 2 != 0 {
                errors.push(pointer, "odd_size", format!("{side} is odd; 4:2:0 video needs even sides"));
                return None;
            }
            Some(side)
        });
        let broken = given == Given::Broken;
        (given.or(fallback), broken)
    };
    let (width, broken_width) = side("width", default.width);
    let (height, broken_height) = side("height", default.height);
    let fps = fields.number("fps", 1.0..=120.0, errors).and_then(FrameRate::from_f64).or(default.fps);
    let Encoding { crf, preset } = read_settings(&mut fields, errors);
    fields.close(errors);
    let output = Output { width, height, fps, crf, preset };
    let aspect = (!broken_width && !broken_height).then(|| aspect_of(&output));
    (output, aspect)
}

fn read_upscale(mut fields: Object, errors: &mut Errors) -> Upscale {
    let modes = [("ai", UpscaleMode::Ai), ("lanczos", UpscaleMode::Lanczos)];
    let qualities =
        [("auto", Quality::Auto), ("best", Quality::Best), ("balanced", Quality::Balanced), ("draft", Quality::Draft)];
    let default = Upscale::default();
    let upscale = Upscale {
        mode: fields.word("mode", &modes, errors).or(default.mode),
        model: fields.text("model", MAX_NAME, errors).or(default.model),
        quality: fields.word("quality", &qualities, errors).or(default.quality),
        fidelity: fields.number("fidelity", 0.0..=1.0, errors).or(default.fidelity),
    };
    fields.close(errors);
    upscale
}

fn read_transition(mut fields: Object, errors: &mut Errors) -> Transition {
    let kinds = [("cut", TransitionKind::Cut), ("fade", TransitionKind::Fade), ("dissolve", TransitionKind::Dissolve)];
    let default = Transition::default();
    let transition = Transition {
        kind: fields.word("kind", &kinds, errors).or(default.kind),
        duration: fields.number("duration", 0.0..=10.0, errors).or(default.duration),
    };
    fields.close(errors);
    transition
}

fn read_detect(mut fields: Object, errors: &mut Errors) -> Detect {
    let default = Detect::default();
    let rule = match fields.any("rule") {
        None => default.rule,
        Some(value @ Value::Object(_)) => Object::open(value, fields.at("rule"), errors)
            .and_then(|rule| read_every(rule, errors))
            .unwrap_or(default.rule),
        Some(Value::String(word)) if word == "opening" => DetectRule::Opening,
        Some(Value::String(word)) if word == "none" => DetectRule::None,
        Some(_) => {
            let detail = r#"use "opening", "none" or {"every": seconds}"#;
            errors.push(fields.at("rule"), "unknown_value", detail);
            default.rule
        }
    };
    let confidence = fields.number("confidence", 0.0..=1.0, errors).or(default.confidence);
    fields.close(errors);
    Detect { rule, confidence }
}

fn read_every(mut fields: Object, errors: &mut Errors) -> Option<DetectRule> {
    let every = fields.number("every", 0.01..=3600.0, errors);
    let every = fields.required("every", every, errors).ok();
    fields.close(errors);
    every.map(DetectRule::Every)
}

/// Reads one clip.
struct ClipReader<'v> {
    fields: Object<'v>,
    rule: SourceRule,
    /// The output's aspect, when its size is a good one.
    aspect: Option<f64>,
    /// The length of an output frame: an end this much too late is clamped, not refused.
    frame: Rat,
}

impl ClipReader<'_> {
    fn read(mut self, errors: &mut Errors) -> ClipEdit {
        let clip_id = self.fields.clip_id(self.rule, errors);
        let video_id = self.fields.video_id(self.rule, errors);
        let name = self.fields.text("name", MAX_NAME, errors).or(String::new());
        let range = TimeRange::read(&mut self.fields, errors);
        let crop = self.crop(errors);
        let rotation = self.fields.number("rotation", -45.0..=45.0, errors).or(0.0);
        let length = range.good().map(|(start, end)| seconds_from_f64(end) - seconds_from_f64(start));
        let (trim, left) = self.trim(length, errors);
        let segments = self.segments(left, errors);
        self.fields.close(errors);
        let (start, end) = (range.start.or(0.0), range.end.or(0.0));
        ClipEdit { clip_id, video_id, name, start, end, crop, rotation, trim, segments }
    }

    fn crop(&mut self, errors: &mut Errors) -> Vec<CropKeyframe> {
        let list = self.fields.list("crop", MAX_KEYFRAMES, errors).or(&[]);
        let mut latest: Option<f64> = None;
        let mut crop = Vec::with_capacity(list.len());
        for (j, value) in list.iter().enumerate() {
            let pointer = self.fields.at(&format!("crop/{j}"));
            let Some(fields) = Object::open(value, pointer.clone(), errors) else {
                crop.push(HARMLESS);
                continue;
            };
            let (keyframe, time) = self.keyframe(fields, errors);
            if let (Some(time), Some(latest)) = (time, latest)
                && time <= latest
            {
                let detail = format!("{time} s is not after the keyframe before it, at {latest} s");
                errors.push(format!("{pointer}/time"), "out_of_order", detail);
            }
            latest = time.or(latest);
            crop.push(keyframe);
        }
        crop
    }

    /// A keyframe (a harmless one if its rectangle is broken), and its time if that is good.
    fn keyframe(&self, mut fields: Object, errors: &mut Errors) -> (CropKeyframe, Option<f64>) {
        let mut number = |name: &'static str, from: f64, to: f64| {
            let given = fields.number(name, from..=to, errors);
            fields.required(name, given, errors).ok()
        };
        let time = number("time", 0.0, MAX_SECONDS);
        let corner = (number("x", -MAX_PIXELS, MAX_PIXELS), number("y", -MAX_PIXELS, MAX_PIXELS));
        let size = (number("width", MIN_CROP, MAX_PIXELS), number("height", MIN_CROP, MAX_PIXELS));
        let width_pointer = fields.at("width");
        fields.close(errors);
        let ((Some(x), Some(y)), (Some(width), Some(height))) = (corner, size) else {
            return (CropKeyframe { time: time.unwrap_or(0.0), ..HARMLESS }, time);
        };
        if let Some(aspect) = self.aspect {
            let off = width / height / aspect - 1.0;
            // A billionth of slack: 1 % exactly is allowed, whichever way its quotient rounds.
            if off.abs() > ASPECT_TOLERANCE + 1e-9 {
                let detail = format!(
                    "{width}x{height} has the aspect {:.4}, {:.2} % off the output's {aspect:.4}; at most 1 % is \
                     allowed: a height of {height} needs a width of {:.2}",
                    width / height,
                    off.abs() * 100.0,
                    height * aspect
                );
                errors.push(width_pointer, "wrong_aspect", detail);
            }
        }
        (CropKeyframe { time: time.unwrap_or(0.0), x, y, width, height }, time)
    }

    /// The trim, and what is left of a clip of that `length`: both ends from the clip's start, where they are known.
    fn trim(&mut self, length: Option<Rat>, errors: &mut Errors) -> (Option<Trim>, Option<(Rat, Rat)>) {
        let mut fields = match self.fields.object("trim", errors) {
            Given::Absent => return (None, length.map(|length| (Rat::from(0), length))),
            Given::Broken => return (None, None),
            Given::Value(fields) => fields,
        };
        let range = TimeRange::read(&mut fields, errors);
        let pointer = fields.at("end");
        fields.close(errors);
        let Some((start, end)) = range.good() else { return (None, None) };
        let trim = Some(Trim { start, end });
        let left = length.and_then(|length| {
            let (start, end) = (seconds_from_f64(start), seconds_from_f64(end));
            if end > length + self.frame || start >= length {
                let detail =
                    format!("the trim ends at {} s, after the clip, which lasts {} s", show(end), show(length));
                errors.push(pointer, "outside_clip", detail);
                return None;
            }
            Some((start, end.min(length)))
        });
        (trim, left)
    }

    /// The speed segments, which must be a partition of what is `left` of the clip.
    fn segments(&mut self, left: Option<(Rat, Rat)>, errors: &mut Errors) -> Vec<SpeedSegment> {
        let list = self.fields.list("segments", MAX_SEGMENTS, errors).or(&[]);
        let mut segments = Vec::with_capacity(list.len());
        let mut expected = left.map(|(start, _)| start);
        for (j, value) in list.iter().enumerate() {
            let Some(mut fields) = Object::open(value, self.fields.at(&format!("segments/{j}")), errors) else {
                segments.push(SpeedSegment { start: 0.0, end: 0.0, speed: 1.0 });
                expected = None;
                continue;
            };
            let range = TimeRange::read(&mut fields, errors);
            let speed = fields.number("speed", 0.1..=8.0, errors).or(1.0);
            if let (Some(start), Some(expected)) = (range.start.seconds(), expected)
                && start != expected
            {
                let (code, what) = if start > expected { ("gap", "a gap") } else { ("overlap", "an overlap") };
                let detail = format!("starts at {} s; without {what} it would at {} s", show(start), show(expected));
                errors.push(fields.at("start"), code, detail);
            }
            expected = range.end.seconds();
            if let (Some(end), Some((_, last)), true) = (expected, left, j + 1 == list.len())
                && (end < last || end > last + self.frame)
            {
                let code = if end < last { "gap" } else { "outside_clip" };
                let detail = format!("the last segment ends at {} s; the clip ends at {} s", show(end), show(last));
                errors.push(fields.at("end"), code, detail);
            }
            fields.close(errors);
            // A broken one keeps its place, harmless.
            let (start, end) = range.good().unwrap_or((0.0, 0.0));
            segments.push(SpeedSegment { start, end, speed });
        }
        segments
    }
}

/// Stands in for a keyframe that could not be read: inside every frame.
const HARMLESS: CropKeyframe = CropKeyframe { time: 0.0, x: 0.0, y: 0.0, width: 0.0, height: 0.0 };

fn show(seconds: Rat) -> f64 {
    crate::rational::to_f64(seconds)
}
