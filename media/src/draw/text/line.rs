//! One shaped and rasterised line of text.

use cosmic_text::{SwashContent, SwashImage};
use edits::Rgb;

use crate::draw::layer::{Layer, Pixel, PixelRect};

/// A line's glyphs, placed about its origin: the start of its baseline.
pub(super) struct Line {
    glyphs: Vec<Glyph>,
    /// The smallest rectangle around all ink.
    ink: PixelRect,
}

/// The picture of a glyph.
pub(super) struct Glyph {
    rect: PixelRect,
    image: SwashImage,
}

impl Glyph {
    /// A glyph whose own origin is at a place of the line.
    pub fn new(x: i32, y: i32, image: SwashImage) -> Self {
        let placement = image.placement;
        let (left, top) = (x + placement.left, y - placement.top);
        let rect = PixelRect { left, top, right: left + placement.width as i32, bottom: top + placement.height as i32 };
        Self { rect, image }
    }

    /// The pixel at an index of the picture; an outline takes the given colour, an emoji has its own.
    fn pixel(&self, index: usize, colour: [f32; 3]) -> Pixel {
        let share = |value: u8| f32::from(value) / 255.0;
        let (rgb, opacity) = match self.image.content {
            SwashContent::Color => {
                let rgba = &self.image.data[index * 4..][..4];
                ([share(rgba[0]), share(rgba[1]), share(rgba[2])], share(rgba[3]))
            }
            SwashContent::Mask | SwashContent::SubpixelMask => (colour, share(self.image.data[index])),
        };
        [rgb[0] * opacity, rgb[1] * opacity, rgb[2] * opacity, opacity]
    }
}

impl Line {
    pub fn new(glyphs: Vec<Glyph>) -> Self {
        let mut ink = PixelRect::EMPTY;
        for glyph in &glyphs {
            ink = ink.union(&glyph.rect);
        }
        Self { glyphs, ink }
    }

    /// Where the origin goes for the ink to be centred at `cx`.
    pub fn origin_x(&self, cx: f64) -> i32 {
        (cx - f64::from(self.ink.left + self.ink.right) / 2.0).round() as i32
    }

    pub fn ink(&self) -> PixelRect {
        self.ink
    }

    /// Draws the line with its origin at a pixel; what is outside the layer is lost.
    pub fn draw(&self, layer: &mut Layer, (x, y): (i32, i32), colour: Rgb) {
        let colour = [colour.r, colour.g, colour.b].map(|part| f32::from(part) / 255.0);
        for glyph in &self.glyphs {
            let rect = glyph.rect.moved(x, y);
            let shown = rect.intersection(&layer.rect());
            for row in shown.top..shown.bottom {
                for column in shown.left..shown.right {
                    let index = (row - rect.top) as usize * rect.width() + (column - rect.left) as usize;
                    layer.over(column, row, glyph.pixel(index, colour));
                }
            }
        }
    }
}
