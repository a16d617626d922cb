//! From a model's result to the output picture: resampling, and giving back what the model lost.

use edits::RgbImage;
use resampling::{Filter, Picture, Resizer, Rgb16};

/// Differences are kept in 16 bits as `32768 + 64 * difference`, so that a resampler for unsigned numbers takes them.
const ZERO: i32 = 32_768;
const UNIT: i32 = 64;

/// Resamples and corrects model results, with buffers that are reused from frame to frame.
#[derive(Default)]
pub struct Finisher {
    resizer: Resizer,
    small: Vec<u8>,
    lost: Vec<Rgb16>,
    lost_large: Vec<Rgb16>,
}

impl Finisher {
    pub fn new() -> Self {
        Self::default()
    }

    /// The picture to show: `y` is the model's result at `width` x `height`; what `crop` (the filmed pixels, at their
    /// own size) has and `y`, averaged down to the same size, has not, is resampled up and added, times `fidelity`
    /// (0 is the model alone, 1 follows the crop most closely).
    pub fn finish(&mut self, model: &RgbImage, crop: &RgbImage, width: u32, height: u32, fidelity: f32) -> RgbImage {
        let mut out = self.resample(model, width, height);
        if fidelity > 0.0 {
            self.shrink(&out, crop);
            self.measure_lost(crop);
            self.enlarge_lost(crop, width, height);
            add_back(&mut out, &self.lost_large, fidelity);
        }
        out
    }

    fn resample(&mut self, model: &RgbImage, width: u32, height: u32) -> RgbImage {
        if (model.width, model.height) == (width, height) {
            return model.clone();
        }
        let mut out = RgbImage::new(width, height);
        let target = Picture { pixels: &mut *out.data, width, height };
        self.resizer.rgb(&pixels(model), target, Filter::Lanczos3);
        out
    }

    /// The output averaged down (by area) to the crop's size.
    fn shrink(&mut self, out: &RgbImage, crop: &RgbImage) {
        self.small.resize(crop.data.len(), 0);
        let target = Picture { pixels: &mut *self.small, width: crop.width, height: crop.height };
        self.resizer.rgb(&pixels(out), target, Filter::Box);
    }

    fn measure_lost(&mut self, crop: &RgbImage) {
        let difference = |a: u8, b: u8| (ZERO + (i32::from(a) - i32::from(b)) * UNIT) as u16;
        let pairs = crop.data.chunks_exact(3).zip(self.small.chunks_exact(3));
        self.lost.clear();
        self.lost.extend(pairs.map(|(a, b)| Rgb16::new(std::array::from_fn(|c| difference(a[c], b[c])))));
    }

    fn enlarge_lost(&mut self, crop: &RgbImage, width: u32, height: u32) {
        self.lost_large.resize(width as usize * height as usize, Rgb16::default());
        let source = Picture { pixels: &*self.lost, width: crop.width, height: crop.height };
        let target = Picture { pixels: &mut *self.lost_large, width, height };
        self.resizer.rgb16(&source, target, Filter::Lanczos3);
    }
}

fn pixels(image: &RgbImage) -> Picture<&[u8]> {
    Picture { pixels: &image.data, width: image.width, height: image.height }
}

fn add_back(out: &mut RgbImage, lost: &[Rgb16], fidelity: f32) {
    const BITS: i32 = 10;
    let factor = (fidelity.clamp(0.0, 1.0) * (1 << BITS) as f32).round() as i32;
    let shift = BITS + UNIT.ilog2() as i32;
    let half = 1 << (shift - 1);
    for (pixel, lost) in out.data.chunks_exact_mut(3).zip(lost) {
        for (value, &lost) in pixel.iter_mut().zip(&lost.0) {
            let added = ((i32::from(lost) - ZERO) * factor + half) >> shift;
            *value = (i32::from(*value) + added).clamp(0, 255) as u8;
        }
    }
}
