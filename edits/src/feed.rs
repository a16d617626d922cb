//! The size at which a crop meets the upscaling model.
//!
//! An inference runtime searches for its best kernels, and keeps memory, for every new input shape. A crop whose size
//! never changes is fed at that size. One that zooms is fed at the next larger step of a short ladder, eighths of the
//! output's height, so that a whole zoom needs a handful of shapes.

use crate::quality::Quality;

/// Steps of the ladder between nothing and the output's height.
const STEPS: f64 = 8.0;

/// How one clip is fed to the model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Feed {
    output: (u32, u32),
    quality: Quality,
    constant: bool,
}

impl Feed {
    /// For an output of (width, height) pixels; `constant` when the clip's crop never changes its size.
    ///
    /// `Quality::Auto` counts as `balanced`, what a machine without a GPU resolves it to.
    pub fn new(output: (u32, u32), quality: Quality, constant: bool) -> Self {
        Self { output, quality, constant }
    }

    /// The (width, height) at which the model is fed a crop of that height; `None` when the crop is already as large
    /// as the output and needs no upscaling.
    pub fn size(&self, crop_height: f64) -> Option<(u32, u32)> {
        let (width, height) = (f64::from(self.output.0), f64::from(self.output.1));
        // A thousandth of a pixel is rounding, not something to upscale.
        if crop_height >= height - 1e-3 {
            return None;
        }
        let step = height / STEPS;
        let wanted = if self.constant { crop_height.round() } else { ((crop_height / step).ceil() * step).round() };
        let part = match self.quality {
            Quality::Best => 1,
            Quality::Balanced | Quality::Auto => 2,
            Quality::Draft => 4,
        };
        let fed_height = wanted.clamp(1.0, f64::from((self.output.1 / part).max(1)));
        let fed_width = (fed_height * width / height).round().clamp(1.0, f64::from((self.output.0 / part).max(1)));
        Some((fed_width as u32, fed_height as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(quality: Quality, constant: bool, crop_height: f64) -> Option<(u32, u32)> {
        Feed::new((810, 1440), quality, constant).size(crop_height)
    }

    #[test]
    fn a_constant_crop_is_fed_at_its_own_size_within_the_quality() {
        assert_eq!(size(Quality::Best, true, 960.0), Some((540, 960)));
        assert_eq!(size(Quality::Balanced, true, 960.0), Some((405, 720)));
        assert_eq!(size(Quality::Draft, true, 960.0), Some((202, 360)));
        assert_eq!(size(Quality::Draft, true, 333.3), Some((187, 333)));
        assert_eq!(size(Quality::Auto, true, 960.0), size(Quality::Balanced, true, 960.0));
    }

    #[test]
    fn a_zoom_is_fed_in_eighths_of_the_output() {
        assert_eq!(size(Quality::Best, false, 541.0), Some((405, 720)));
        assert_eq!(size(Quality::Best, false, 720.0), Some((405, 720)));
        assert_eq!(size(Quality::Best, false, 1400.0), Some((810, 1440)));
        assert_eq!(size(Quality::Balanced, false, 1000.0), Some((405, 720)));
        let heights = (4..1440).filter_map(|height| size(Quality::Best, false, f64::from(height)));
        let mut shapes: Vec<_> = heights.collect();
        shapes.dedup();
        assert_eq!(shapes.len(), 8);
    }

    #[test]
    fn a_crop_as_large_as_the_output_is_not_upscaled() {
        assert_eq!(size(Quality::Best, true, 1440.0), None);
        assert_eq!(size(Quality::Draft, false, 2000.0), None);
        assert!(size(Quality::Best, true, 1439.0).is_some());
    }
}
