//! Something still that is drawn on many frames.

use super::canvas::{Canvas, CanvasFormat, luma_step};
use super::layer::{Layer, PixelRect};
use crate::colour::DrawnColour;

/// Fraction bits of a patch: 8-bit values times a share stay within 32 bits.
const BITS: u32 = 15;
const ONE: f32 = (1 << BITS) as f32;

/// A text or a card in the colours and at the place of one picture format: made once, blended on every frame that
/// shows it, at the cost of its own area.
pub struct Sprite {
    format: CanvasFormat,
    patches: [Patch; 3],
}

/// The part of one plane a sprite covers: a sample becomes `(sample * keep + add) >> BITS`.
struct Patch {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
    keep: Vec<u16>,
    add: Vec<u32>,
}

impl Sprite {
    pub(super) fn new(layer: &Layer, format: CanvasFormat) -> Self {
        let colour = DrawnColour::new(format.matrix, format.range);
        Self { format, patches: [0, 1, 2].map(|plane| Patch::new(layer, format, plane, &colour)) }
    }

    /// What a layer must be cut to: the picture, and at odd sizes the other half of the last chroma samples.
    pub(super) fn room(format: CanvasFormat) -> PixelRect {
        let even = |size: u32| size.next_multiple_of(2) as i32;
        PixelRect { left: 0, top: 0, right: even(format.width), bottom: even(format.height) }
    }

    /// The luma pixels that may change, as x, y, width and height; no size when there is nothing to draw.
    pub fn area(&self) -> (usize, usize, usize, usize) {
        let patch = &self.patches[0];
        (patch.x, patch.y, patch.width, patch.height)
    }

    pub(super) fn blend(&self, canvas: &mut Canvas) {
        assert_eq!(self.format, canvas.format(), "a sprite was made for another picture format");
        for (plane, patch) in self.patches.iter().enumerate() {
            if patch.keep.is_empty() {
                continue;
            }
            let plane = canvas.plane(plane);
            let rows = patch.keep.chunks_exact(patch.width).zip(patch.add.chunks_exact(patch.width));
            for (y, (keep, add)) in rows.enumerate() {
                let samples = &mut plane.row(patch.y + y)[patch.x..][..patch.width];
                for ((sample, &keep), &add) in samples.iter_mut().zip(keep).zip(add) {
                    *sample = ((u32::from(*sample) * u32::from(keep) + add) >> BITS) as u8;
                }
            }
        }
    }
}

impl Patch {
    fn new(layer: &Layer, format: CanvasFormat, plane: usize, colour: &DrawnColour) -> Self {
        let step = luma_step(plane) as i32;
        let size = format.plane_size(plane);
        let rect = layer.rect();
        let last = |end: i32, size: usize| ((end + step - 1).div_euclid(step)).min(size as i32);
        let (left, top) = (rect.left.div_euclid(step), rect.top.div_euclid(step));
        let (width, height) = ((last(rect.right, size.0) - left).max(0), (last(rect.bottom, size.1) - top).max(0));
        let share = 1.0 / (step * step) as f32;
        let (mut keep, mut add) = (Vec::new(), Vec::new());
        for y in top..top + height {
            for x in left..left + width {
                let mut mean = [0.0; 4];
                for pixel in 0..step * step {
                    let part = layer.at(x * step + pixel % step, y * step + pixel / step);
                    mean = std::array::from_fn(|channel| mean[channel] + part[channel] * share);
                }
                let opacity = (mean[3] * ONE).round() as u16;
                // Code values of what rounding made of the opacity, so that white on white stays white.
                mean[3] = f32::from(opacity) / ONE;
                keep.push((1 << BITS) - opacity);
                add.push((colour.code_values(mean)[plane] * ONE).round() as u32 + (1 << (BITS - 1)));
            }
        }
        let place = |value: i32| value.max(0) as usize;
        Self { x: place(left), y: place(top), width: place(width), height: place(height), keep, add }
    }
}
