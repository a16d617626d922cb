//! One plane resampled from a sub-pixel box.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{InnerPixel, U8};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

use crate::picture::Plane;

/// A box in samples of a plane; edges of samples are whole numbers, so the first sample's centre is 0.5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Window {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

/// A resampler with its buffers.
#[derive(Default)]
pub(crate) struct Resampler {
    resizer: Resizer,
    source: Vec<u8>,
}

impl Resampler {
    /// Fills `out` (`width` x `height`, no padding) with the part of the plane under `window`, by Lanczos (3 lobes,
    /// widened when shrinking). The plane's edge samples go on beyond its edges.
    pub fn plane(&mut self, plane: &Plane, window: Window, out: &mut [u8], width: u32, height: u32) {
        let reach = |step: f64| 3.0 * step.max(1.0) + 2.0;
        let across = Span::new(window.left, window.width, reach(window.width / f64::from(width)));
        let down = Span::new(window.top, window.height, reach(window.height / f64::from(height)));
        self.copy(plane, &across, &down);
        let source = TypedImageRef::<U8>::from_buffer(across.count as u32, down.count as u32, &self.source)
            .expect("the copied part has the size it was copied with");
        let mut target =
            TypedImage::<U8>::from_buffer(width, height, out).expect("the caller's buffer has the size asked for");
        let options = options(FilterType::Lanczos3).crop(across.start, down.start, window.width, window.height);
        self.resizer.resize_typed(&source, &mut target, &options).expect("the window lies within the copied part");
    }

    /// Copies the samples a window needs, the edge ones repeated outside the plane.
    fn copy(&mut self, plane: &Plane, across: &Span, down: &Span) {
        self.source.clear();
        self.source.reserve(across.count * down.count);
        let inside = |at: i64, size: usize| at.clamp(0, size as i64 - 1) as usize;
        let first = inside(across.from, plane.width);
        let past = inside(across.from + across.count as i64 - 1, plane.width) + 1;
        let before = (first as i64 - across.from).clamp(0, across.count as i64 - 1) as usize;
        let after = across.count - before - (past - first);
        for y in 0..down.count as i64 {
            let row = plane.row(inside(down.from + y, plane.height));
            self.source.extend(std::iter::repeat_n(row[first], before));
            self.source.extend_from_slice(&row[first..past]);
            self.source.extend(std::iter::repeat_n(row[past - 1], after));
        }
    }

    /// Resamples a whole image of any pixel type.
    pub fn whole<P: InnerPixel + PixelTrait>(
        &mut self,
        source: &TypedImageRef<P>,
        target: &mut TypedImage<P>,
        filter: FilterType,
    ) {
        self.resizer
            .resize_typed(source, target, &options(filter))
            .expect("whole images have no box that could lie outside");
    }
}

fn options(filter: FilterType) -> ResizeOptions {
    ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false)
}

/// The samples from which one side of a window is computed.
struct Span {
    from: i64,
    count: usize,
    /// Where the window starts within them.
    start: f64,
}

impl Span {
    fn new(start: f64, length: f64, reach: f64) -> Self {
        let from = (start - reach).floor();
        let to = (start + length + reach).ceil();
        Self { from: from as i64, count: (to - from) as usize, start: start - from }
    }
}
