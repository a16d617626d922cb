//! A small picture in R'G'B' with opacity, on which texts and cards are put together before they become a sprite.

use std::ops::Range;

/// R', G', B' and opacity, 0 to 1, premultiplied.
pub(super) type Pixel = [f32; 4];

/// A rectangle of whole pixels of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PixelRect {
    pub left: i32,
    pub top: i32,
    pub right: i32,
    pub bottom: i32,
}

impl PixelRect {
    pub const EMPTY: Self = Self { left: 0, top: 0, right: 0, bottom: 0 };

    pub fn is_empty(&self) -> bool {
        self.left >= self.right || self.top >= self.bottom
    }

    pub fn intersection(&self, other: &Self) -> Self {
        Self {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.min(other.right),
            bottom: self.bottom.min(other.bottom),
        }
    }

    /// The smallest rectangle that holds both; an empty one counts for nothing.
    pub fn union(&self, other: &Self) -> Self {
        if self.is_empty() {
            return *other;
        }
        if other.is_empty() {
            return *self;
        }
        Self {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    pub fn grown(&self, by: i32) -> Self {
        Self { left: self.left - by, top: self.top - by, right: self.right + by, bottom: self.bottom + by }
    }

    pub fn moved(&self, x: i32, y: i32) -> Self {
        Self { left: self.left + x, top: self.top + y, right: self.right + x, bottom: self.bottom + y }
    }

    pub fn width(&self) -> usize {
        (self.right - self.left).max(0) as usize
    }

    pub fn height(&self) -> usize {
        (self.bottom - self.top).max(0) as usize
    }
}

/// Transparent until drawn on.
pub(super) struct Layer {
    rect: PixelRect,
    pixels: Vec<Pixel>,
}

impl Layer {
    pub fn new(rect: PixelRect) -> Self {
        let rect = if rect.is_empty() { PixelRect::EMPTY } else { rect };
        Self { rect, pixels: vec![[0.0; 4]; rect.width() * rect.height()] }
    }

    pub fn rect(&self) -> PixelRect {
        self.rect
    }

    /// The pixel at a place of the picture; transparent outside the layer.
    pub fn at(&self, x: i32, y: i32) -> Pixel {
        self.index(x, y).map_or([0.0; 4], |index| self.pixels[index])
    }

    /// Puts a pixel over what is there.
    pub fn over(&mut self, x: i32, y: i32, pixel: Pixel) {
        if let Some(index) = self.index(x, y) {
            let below = &mut self.pixels[index];
            *below = std::array::from_fn(|channel| pixel[channel] + below[channel] * (1.0 - pixel[3]));
        }
    }

    /// Adds an upright rectangle with any edges, anti-aliased. Rectangles may touch but not overlap: their shares of a
    /// pixel add up, so that no seam shows.
    pub fn add(&mut self, x: Range<f64>, y: Range<f64>, colour: Pixel) {
        for row in self.rect.top..self.rect.bottom {
            let down = overlap(&y, row);
            if down == 0.0 {
                continue;
            }
            for column in self.rect.left..self.rect.right {
                let share = (down * overlap(&x, column)) as f32;
                if let Some(index) = self.index(column, row) {
                    let there = &mut self.pixels[index];
                    *there = std::array::from_fn(|channel| there[channel] + colour[channel] * share);
                }
            }
        }
    }

    /// The same with a soft black outline under everything, fading out over `radius` pixels.
    pub fn outlined(&self, radius: f64, opacity: f32) -> Self {
        let reach = radius.ceil() as i32 + 1;
        let weight = |x: i32, y: i32| {
            let distance = f64::from(x).hypot(f64::from(y));
            ((radius + 1.0 - distance) / (radius / 2.0 + 1.0)).clamp(0.0, 1.0) as f32 * opacity
        };
        let around: Vec<(i32, i32, f32)> = (-reach..=reach)
            .flat_map(|y| (-reach..=reach).map(move |x| (x, y)))
            .map(|(x, y)| (x, y, weight(x, y)))
            .filter(|(_, _, weight)| *weight > 0.0)
            .collect();
        let mut out = Self::new(self.rect);
        for y in self.rect.top..self.rect.bottom {
            for x in self.rect.left..self.rect.right {
                let dark =
                    around.iter().map(|(dx, dy, weight)| self.at(x + dx, y + dy)[3] * weight).fold(0.0, f32::max);
                out.over(x, y, [0.0, 0.0, 0.0, dark]);
                out.over(x, y, self.at(x, y));
            }
        }
        out
    }

    fn index(&self, x: i32, y: i32) -> Option<usize> {
        let rect = &self.rect;
        let inside = (rect.left..rect.right).contains(&x) && (rect.top..rect.bottom).contains(&y);
        inside.then(|| (y - rect.top) as usize * rect.width() + (x - rect.left) as usize)
    }
}

/// How much of the pixel from `at` to `at + 1` a range covers.
fn overlap(range: &Range<f64>, at: i32) -> f64 {
    let at = f64::from(at);
    (range.end.min(at + 1.0) - range.start.max(at)).max(0.0)
}
