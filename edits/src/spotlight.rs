//! A region's spotlight at each moment: position, opacity and shape, interpolated between keyframes.

use crate::color::Rgb;
use crate::drawing::{Ellipse, Paint, Spotlight, Stroke};
use crate::rational::{Rat, seconds_from_f64, to_f64};
use crate::spec::overlay::{Effect, OverlaySpec, Region, Shape, SpotKeyframe, SpotStyle};
use crate::spline::{Place, catmull_rom, place};

/// No radius is smaller than this many pixels, however far a spline undershoots.
const MIN_RADIUS: f64 = 0.5;
/// A stroke is never thinner than this many pixels.
const MIN_STROKE: f64 = 2.0;
/// The lines that stroke widths are written for.
const NOMINAL_HEIGHT: f64 = 1080.0;
/// How much wider than the stroke the outline under it is, in pixels.
const OUTLINE_EXTRA: f64 = 2.0;
/// How much of the stroke's colour and of its opacity the outline has.
const OUTLINE_COLOR: f64 = 0.3;
const OUTLINE_OPACITY: f64 = 0.5;
/// How the ellipse around a player becomes one at the feet: the keyframes' ellipse is 1.3 times the player.
const PLAYER_MARGIN: f64 = 1.3;
const GROUND_WIDENING: f64 = 2.0;
const GROUND_FLATTENING: f64 = 0.3;
/// The open side of a ground ellipse is at the back, where the player stands in front of it.
const GROUND_ARC: (f64, f64) = (-30.0, 210.0);
/// The longest exit fade, in seconds.
const EXIT_FADE: f64 = 0.25;

/// The spotlight of one region.
#[derive(Clone, Debug)]
pub(crate) struct SpotPath {
    start: Rat,
    end: Rat,
    /// In pixels of the video, times rising; at least one.
    keyframes: Vec<SpotKeyframe>,
    effect: Effect,
    shape: Shape,
    style: SpotStyle,
    stroke_width: f64,
}

impl SpotPath {
    /// The path of a `region` of `spec` in a video of (width, height) pixels that lasts `duration` seconds. `None`
    /// without keyframes: nothing is drawn then.
    pub(crate) fn new(spec: &OverlaySpec, region: &Region, size: (u32, u32), duration: Rat) -> Option<Self> {
        let (width, height) = (f64::from(size.0), f64::from(size.1));
        let space = region.space.map_or((width, height), |space| (f64::from(space.width), f64::from(space.height)));
        let (across, down) = (width / space.0, height / space.1);
        let scaled = |keyframe: &SpotKeyframe| SpotKeyframe {
            x: keyframe.x * across,
            y: keyframe.y * down,
            radius_x: keyframe.radius_x * across,
            radius_y: keyframe.radius_y * down,
            ..*keyframe
        };
        let keyframes: Vec<SpotKeyframe> = region.keyframes.iter().map(scaled).collect();
        (!keyframes.is_empty()).then(|| Self {
            start: seconds_from_f64(region.start),
            end: seconds_from_f64(region.end).min(duration),
            keyframes,
            effect: spec.effect,
            shape: spec.shape,
            style: spec.style,
            stroke_width: (spec.style.stroke_width * height / NOMINAL_HEIGHT).round().max(MIN_STROKE),
        })
    }

    /// From when on it is drawn.
    pub(crate) fn start(&self) -> Rat {
        self.start
    }

    /// Before which time it is drawn.
    pub(crate) fn end(&self) -> Rat {
        self.end
    }

    /// The last time at which it may be drawn: that of its last keyframe.
    pub(crate) fn last(&self) -> Rat {
        seconds_from_f64(self.keyframes[self.keyframes.len() - 1].time)
    }

    /// The spotlight at `time`, within the region.
    pub(crate) fn at(&self, time: Rat) -> Spotlight {
        let keyframe = self.interpolated(to_f64(time));
        let fade = self.fade(time);
        let stroke_opacity = keyframe.stroke_opacity.clamp(0.0, 1.0) * fade;
        let fill_opacity = keyframe.fill_opacity.clamp(0.0, 1.0) * fade;
        let ground = self.shape == Shape::Ground;
        let line =
            |color: Rgb, opacity: f64, width: f64| Stroke { color, opacity, width, arc: ground.then_some(GROUND_ARC) };
        let color = keyframe.color;
        let outline =
            line(color.scaled(OUTLINE_COLOR), stroke_opacity * OUTLINE_OPACITY, self.stroke_width + OUTLINE_EXTRA);
        Spotlight {
            ellipse: self.ellipse(&keyframe),
            effect: self.effect,
            dim: self.style.dim * fade,
            fill: (self.style.fill || ground).then_some(Paint { color, opacity: fill_opacity }),
            outline: Some(outline),
            stroke: Some(line(color, stroke_opacity, self.stroke_width)),
        }
    }

    /// In the region's last min(0.25 s, half its length): q², q falling from 1 to 0.
    fn fade(&self, time: Rat) -> f64 {
        let length = to_f64(self.end - self.start);
        let q = to_f64(self.end - time) / EXIT_FADE.min(length / 2.0);
        q.clamp(0.0, 1.0).powi(2)
    }

    /// Every property along its spline, but the colour, which is the earlier keyframe's.
    fn interpolated(&self, time: f64) -> SpotKeyframe {
        let (neighbours, u) = match place(&self.keyframes, time, |keyframe| keyframe.time) {
            Place::Hold(keyframe) => return keyframe,
            Place::Between(neighbours, u) => (neighbours, u),
        };
        let curve = |property: fn(&SpotKeyframe) -> f64| catmull_rom(neighbours.each_ref().map(property), u);
        SpotKeyframe {
            time,
            x: curve(|k| k.x),
            y: curve(|k| k.y),
            radius_x: curve(|k| k.radius_x),
            radius_y: curve(|k| k.radius_y),
            color: neighbours[1].color,
            stroke_opacity: curve(|k| k.stroke_opacity),
            fill_opacity: curve(|k| k.fill_opacity),
        }
    }

    fn ellipse(&self, keyframe: &SpotKeyframe) -> Ellipse {
        let (cx, cy) = (keyframe.x, keyframe.y);
        let (rx, ry) = (keyframe.radius_x.max(MIN_RADIUS), keyframe.radius_y.max(MIN_RADIUS));
        match self.shape {
            Shape::Ellipse => Ellipse { cx, cy, rx, ry },
            Shape::Ground => Ellipse {
                cx,
                cy: cy + ry / PLAYER_MARGIN,
                rx: rx * GROUND_WIDENING / PLAYER_MARGIN,
                ry: (ry * GROUND_FLATTENING).max(MIN_RADIUS),
            },
        }
    }
}
