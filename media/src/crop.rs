//! Cutting a moving box out of a picture, at sub-pixel positions, straight from the decoded planes.

use edits::{CropRect, RgbImage};
use resampling::Crop;

use crate::colour::{Matrix, Range, ToBt709, ToRgb};
use crate::picture::{Chroma, Picture, Plane};
use crate::resample::Resampler;
use crate::rotate::Turned;
use crate::yuv::YuvFrame;

/// Cuts, turns and scales pictures, with buffers that are reused from frame to frame.
///
/// The box is in displayed pixels (origin top left) and need not lie on whole ones. A turn is counter-clockwise, in
/// degrees, about the picture's centre and before the crop; the picture keeps its size and its corners become black.
/// Scaling is Lanczos with three lobes on every plane by itself, with the planes' own positions of chroma samples.
#[derive(Default)]
pub struct Cropper {
    resampler: Resampler,
    turned: Turned,
    luma: Vec<u8>,
    cb: Vec<u8>,
    cr: Vec<u8>,
}

/// What is resampled: the planes of a picture, or of its turned part.
struct Source<'a> {
    planes: [Plane<'a>; 3],
    chroma: Chroma,
    /// The box in luma samples.
    window: Crop,
    matrix: Matrix,
    range: Range,
}

impl Cropper {
    pub fn new() -> Self {
        Self::default()
    }

    /// The box as RGB of `width` x `height` pixels, by the picture's own matrix and range.
    pub fn rgb(&mut self, picture: &Picture, crop: &CropRect, rotation: f64, width: u32, height: u32) -> RgbImage {
        let Self { resampler, turned, luma, cb, cr } = self;
        let source = Source::new(turned, picture, crop, rotation);
        let mut image = RgbImage::new(width, height);
        for (index, out) in [&mut *luma, &mut *cb, &mut *cr].into_iter().enumerate() {
            source.full(resampler, index, out, width, height);
        }
        ToRgb::new(source.matrix, source.range).convert(luma, cb, cr, &mut image.data);
        image
    }

    /// The box as a picture for the encoder, without a detour through RGB.
    pub fn yuv(&mut self, picture: &Picture, crop: &CropRect, rotation: f64, width: u32, height: u32) -> YuvFrame {
        let Self { resampler, turned, cb, cr, .. } = self;
        let source = Source::new(turned, picture, crop, rotation);
        let mut out = YuvFrame::new(width, height);
        source.full(resampler, 0, &mut out.y, width, height);
        source.half(resampler, 1, &mut out.u, width, height);
        source.half(resampler, 2, &mut out.v, width, height);
        if let Some(convert) = ToBt709::new(source.matrix, source.range) {
            if convert.mixes {
                source.full(resampler, 1, cb, width, height);
                source.full(resampler, 2, cr, width, height);
            }
            convert.luma(&mut out.y, cb, cr);
            convert.chroma(&mut out.u, &mut out.v);
        }
        out
    }
}

impl<'a> Source<'a> {
    fn new(turned: &'a mut Turned, picture: &'a Picture, crop: &CropRect, rotation: f64) -> Self {
        let (matrix, range) = (picture.matrix, picture.range);
        if rotation == 0.0 {
            let (across, down) = picture.density();
            return Self {
                planes: std::array::from_fn(|index| picture.plane(index)),
                chroma: picture.chroma,
                window: Crop {
                    left: crop.x * across,
                    top: crop.y * down,
                    width: crop.width * across,
                    height: crop.height * down,
                },
                matrix,
                range,
            };
        }
        turned.sample(picture, crop, rotation);
        let (width, height) = (turned.width, turned.height);
        Self {
            planes: std::array::from_fn(|index| Plane::packed(&turned.planes[index], width, height)),
            chroma: Chroma { step: (1, 1), offset: (0.0, 0.0) },
            window: Crop { left: 0.0, top: 0.0, width: width as f64, height: height as f64 },
            matrix,
            range,
        }
    }

    /// Plane `index` at full output resolution.
    fn full(&self, resampler: &mut Resampler, index: usize, out: &mut Vec<u8>, width: u32, height: u32) {
        out.resize(width as usize * height as usize, 0);
        let window = self.window_of(index, (f64::from(width), f64::from(height)), (1.0, 1.0), (0.0, 0.0));
        resampler.plane(&self.planes[index], window, out, width, height);
    }

    /// Chroma plane `index` for 4:2:0 output with chroma on the left.
    fn half(&self, resampler: &mut Resampler, index: usize, out: &mut [u8], width: u32, height: u32) {
        let window = self.window_of(index, (f64::from(width), f64::from(height)), (2.0, 2.0), (0.25, 0.0));
        resampler.plane(&self.planes[index], window, out, width.div_ceil(2), height.div_ceil(2));
    }

    /// The part of a plane that an output plane covers.
    ///
    /// With sample edges on whole numbers, a plane of `step` luma samples a sample and `offset` (see [`Chroma`])
    /// covers luma position `step * (c - offset)` at its own position `c`, on both sides of the scaling.
    fn window_of(&self, index: usize, size: (f64, f64), step: (f64, f64), offset: (f64, f64)) -> Crop {
        let (own_step, own_offset) =
            if index == 0 { ((1, 1), (0.0, 0.0)) } else { (self.chroma.step, self.chroma.offset) };
        let side = |start: f64, length: f64, size: f64, step: f64, offset: f64, own_step: u32, own_offset: f64| {
            let own_step = f64::from(own_step);
            let luma_per_sample = length / size * step;
            let samples = (size / step).ceil();
            let begin = (start - luma_per_sample * offset) / own_step + own_offset;
            (begin, samples * luma_per_sample / own_step)
        };
        let own = &self.window;
        let (left, width) = side(own.left, own.width, size.0, step.0, offset.0, own_step.0, own_offset.0);
        let (top, height) = side(own.top, own.height, size.1, step.1, offset.1, own_step.1, own_offset.1);
        Crop { left, top, width, height }
    }
}
