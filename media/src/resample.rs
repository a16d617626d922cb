//! One plane resampled from a sub-pixel box.

use resampling::{Crop, Filter, Picture, Resizer};

use crate::picture::Plane;

/// A resampler with its buffers.
#[derive(Default)]
pub(crate) struct Resampler {
    resizer: Resizer,
    source: Vec<u8>,
}

impl Resampler {
    /// Fills `out` (`width` x `height`, no padding) with the part of the plane under `window`, by Lanczos (3 lobes,
    /// widened when shrinking). The plane's edge samples go on beyond its edges.
    pub fn plane(&mut self, plane: &Plane, window: Crop, out: &mut [u8], width: u32, height: u32) {
        let reach = |step: f64| 3.0 * step.max(1.0) + 2.0;
        let across = Span::new(window.left, window.width, reach(window.width / f64::from(width)));
        let down = Span::new(window.top, window.height, reach(window.height / f64::from(height)));
        self.copy(plane, &across, &down);
        let source = Picture { pixels: &*self.source, width: across.count as u32, height: down.count as u32 };
        let crop = Crop { left: across.start, top: down.start, ..window };
        self.resizer.plane(&source, crop, Picture { pixels: out, width, height }, Filter::Lanczos3);
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
