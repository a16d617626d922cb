//! Where the crop is at each moment.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::spline::{Place, catmull_rom, place};

/// No crop is smaller than this many pixels a side, however far a spline undershoots.
pub const MIN_CROP: f64 = 4.0;

/// A rectangle at sub-pixel positions: top-left corner and size, in pixels of the displayed (and rotated) source.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CropRect {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// The crop at one moment of a clip.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CropKeyframe {
    /// Source seconds from the clip's start.
    pub time: f64,
    /// Left edge in source pixels.
    pub x: f64,
    /// Top edge in source pixels.
    pub y: f64,
    /// Width in source pixels; within 1 % of `height` times the output's aspect.
    pub width: f64,
    /// Height in source pixels.
    pub height: f64,
}

/// The crop of a clip over time.
#[derive(Clone, Debug, PartialEq)]
pub struct CropPath {
    keyframes: Vec<CropKeyframe>,
    aspect: f64,
    frame: (f64, f64),
}

impl CropPath {
    /// The path through `keyframes` (times rising) in a frame of `frame_size` = (width, height) pixels, for an output
    /// of `aspect` = width / height. Without keyframes it holds the default crop of that `rotation` (degrees).
    pub fn new(keyframes: &[CropKeyframe], aspect: f64, frame_size: (u32, u32), rotation: f64) -> Self {
        let frame = (f64::from(frame_size.0), f64::from(frame_size.1));
        let mut keyframes = keyframes.to_vec();
        if keyframes.is_empty() {
            let CropRect { x, y, width, height } = default_crop(frame, aspect, rotation);
            keyframes.push(CropKeyframe { time: 0.0, x, y, width, height });
        }
        Self { keyframes, aspect, frame }
    }

    /// The crop `time` source seconds after the clip's start: of exactly the output's aspect and inside the frame.
    pub fn at(&self, time: f64) -> CropRect {
        self.inside(self.interpolated(time))
    }

    /// The one height the crop has all along, in pixels, if it has.
    pub fn constant_height(&self) -> Option<f64> {
        let height = self.keyframes[0].height;
        let constant = self.keyframes.iter().all(|keyframe| keyframe.height == height);
        constant.then(|| self.at(self.keyframes[0].time).height)
    }

    fn interpolated(&self, time: f64) -> CropKeyframe {
        let (neighbours, u) = match place(&self.keyframes, time, |keyframe| keyframe.time) {
            Place::Hold(keyframe) => return keyframe,
            Place::Between(neighbours, u) => (neighbours, u),
        };
        let curve = |property: fn(&CropKeyframe) -> f64| catmull_rom(neighbours.each_ref().map(property), u);
        CropKeyframe {
            time,
            x: curve(|k| k.x),
            y: curve(|k| k.y),
            width: curve(|k| k.width),
            height: curve(|k| k.height),
        }
    }

    /// The height counts: the width follows from it about the same centre, and what sticks out is shifted back.
    fn inside(&self, crop: CropKeyframe) -> CropRect {
        let largest = (self.frame.0 / self.aspect).min(self.frame.1);
        let height = crop.height.max(MIN_CROP).min(largest);
        let width = (height * self.aspect).min(self.frame.0);
        let (centre_x, centre_y) = (crop.x + crop.width / 2.0, crop.y + crop.height / 2.0);
        CropRect {
            x: (centre_x - width / 2.0).min(self.frame.0 - width).max(0.0),
            y: (centre_y - height / 2.0).min(self.frame.1 - height).max(0.0),
            width,
            height,
        }
    }
}

/// The largest centred crop of `aspect` that shows no black corner of a frame rotated by `rotation` degrees.
///
/// A centred w x h rectangle turned back by the rotation spans `w·cos + h·sin` by `w·sin + h·cos`, which must fit the
/// frame; the crop itself must fit it too, for the rotated frame keeps its size.
pub fn default_crop(frame: (f64, f64), aspect: f64, rotation: f64) -> CropRect {
    let (sin, cos) = rotation.to_radians().abs().sin_cos();
    let height = [frame.0 / aspect, frame.1, frame.0 / (aspect * cos + sin), frame.1 / (aspect * sin + cos)]
        .into_iter()
        .fold(f64::INFINITY, f64::min);
    let width = height * aspect;
    CropRect { x: (frame.0 - width) / 2.0, y: (frame.1 - height) / 2.0, width, height }
}
