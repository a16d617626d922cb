//! Texts: shaping with bidirectional order, joining, accents and colour emoji, as sprites.

mod fonts;
mod line;

use cosmic_text::{Attrs, Buffer, FontSystem, LayoutGlyph, Metrics, Shaping, SwashCache, Wrap};
use edits::{Card, CardText, PlacedText};
use unicode_properties::{EmojiStatus, UnicodeEmoji};
use unicode_segmentation::UnicodeSegmentation;

use self::line::{Glyph, Line};
use super::canvas::CanvasFormat;
use super::card;
use super::layer::{Layer, PixelRect};
use super::sprite::Sprite;
use crate::error::Result;

/// How far the dark outline of an overlay text reaches, in pixels of a picture of 1080 lines, and how dark it is.
const OUTLINE: (f64, f32) = (2.0, 0.6);
const ELLIPSIS: char = '…';

/// Reads the fonts, once for the whole process and those that are forked from it: a confined one can open no file of
/// theirs. What is wrong with them is an error when a text is to be drawn.
pub fn load_fonts() {
    let _ = fonts::files();
}

/// Makes sprites of texts. Parsing the fonts takes milliseconds, so one shaper serves a whole export.
pub struct TextShaper {
    fonts: FontSystem,
    rasteriser: SwashCache,
    /// Height of capital letters in font sizes.
    capitals: f64,
}

impl TextShaper {
    /// A shaper with the fonts of this process, which are read where [`load_fonts`] has not been called.
    ///
    /// # Errors
    /// [`MediaError::Codec`](crate::MediaError::Codec) naming the Debian package to install when DejaVu Sans is
    /// missing, [`MediaError::Io`](crate::MediaError::Io) when a font file cannot be read.
    pub fn new() -> Result<Self> {
        let mut shaper = Self { fonts: fonts::system()?, rasteriser: SwashCache::new(), capitals: 0.0 };
        // Measured, because DejaVu Sans does not state it.
        shaper.capitals = shaper.line("H", 1000.0).ink().height() as f64 / 1000.0;
        Ok(shaper)
    }

    /// An overlay text for pictures of a format: its ink centred across on `cx`, the middle of its capitals on `cy`,
    /// over a soft dark outline that keeps it readable on grass and on shirts.
    pub fn text(&mut self, text: &PlacedText, format: CanvasFormat) -> Sprite {
        let line = self.line(&plain(&text.text), text.size);
        let origin = (line.origin_x(text.cx), self.baseline(text.cy, text.size));
        let radius = OUTLINE.0 * f64::from(format.height) / 1080.0;
        let rect = match line.ink() {
            ink if ink.is_empty() => PixelRect::EMPTY,
            ink => ink.moved(origin.0, origin.1).grown(radius.ceil() as i32 + 1),
        };
        let mut ink = Layer::new(rect.intersection(&Sprite::room(format)));
        line.draw(&mut ink, origin, text.color);
        Sprite::new(&ink.outlined(radius, OUTLINE.1), format)
    }

    /// A card for pictures of a format, with its texts shortened to the card's width.
    pub fn card(&mut self, card: &Card, format: CanvasFormat) -> Sprite {
        let mut layer = card::background(card, Sprite::room(format));
        let centre = card.area.x + card.area.width / 2.0;
        for text in std::iter::once(&card.title).chain(&card.notes) {
            self.card_text(text, centre, card.max_text_width, &mut layer);
        }
        Sprite::new(&layer, format)
    }

    fn card_text(&mut self, text: &CardText, centre: f64, max_width: f64, layer: &mut Layer) {
        let shown = self.shortened(&plain(&text.text), text.size, max_width);
        let line = self.line(&shown, text.size);
        let origin = (line.origin_x(centre), self.baseline(text.center_y, text.size));
        line.draw(layer, origin, text.color);
    }

    /// The row of the baseline on which capitals are centred at `cy`.
    fn baseline(&self, cy: f64, size: f64) -> i32 {
        (cy + self.capitals * size / 2.0).round() as i32
    }

    /// The text, or as many of its first graphemes as fit the width with an ellipsis after them.
    fn shortened(&mut self, text: &str, size: f64, max_width: f64) -> String {
        if self.width(text, size) <= max_width {
            return text.to_owned();
        }
        let ends: Vec<usize> = text.grapheme_indices(true).map(|(at, _)| at).collect();
        let cut = |count: usize| format!("{}{ELLIPSIS}", text[..ends[count]].trim_end());
        // The widest that fits lies in `fits..too_long`; the ellipsis alone is shown even where it does not fit.
        let (mut fits, mut too_long) = (0, ends.len());
        while too_long - fits > 1 {
            let middle = fits.midpoint(too_long);
            if self.width(&cut(middle), size) <= max_width {
                fits = middle;
            } else {
                too_long = middle;
            }
        }
        cut(fits)
    }

    /// Advance width in pixels.
    fn width(&mut self, text: &str, size: f64) -> f64 {
        f64::from(self.shape(text, size).1)
    }

    fn line(&mut self, text: &str, size: f64) -> Line {
        let glyphs = self.shape(text, size).0;
        let rasterised = glyphs.iter().filter_map(|glyph| {
            let place = glyph.physical((0.0, 0.0), 1.0);
            let image = self.rasteriser.get_image_uncached(&mut self.fonts, place.cache_key)?;
            Some(Glyph::new(place.x, place.y, image))
        });
        Line::new(rasterised.collect())
    }

    /// Glyphs in visual order, from left to right, and their advance width.
    fn shape(&mut self, text: &str, size: f64) -> (Vec<LayoutGlyph>, f32) {
        let size = size as f32;
        let letters = Attrs::new().family(fonts::LETTERS);
        let spans = text.graphemes(true).map(|grapheme| {
            let family = if is_emoji(grapheme) { fonts::EMOJI } else { fonts::LETTERS };
            (grapheme, Attrs::new().family(family))
        });
        let mut buffer = Buffer::new(&mut self.fonts, Metrics::new(size, size * 1.2));
        buffer.set_wrap(Wrap::None);
        buffer.set_size(None, None);
        buffer.set_rich_text(spans, &letters, Shaping::Advanced, None);
        buffer.shape_until_scroll(&mut self.fonts, false);
        let runs: Vec<_> = buffer.layout_runs().collect();
        let glyphs = runs.iter().flat_map(|run| run.glyphs.iter().cloned()).collect();
        (glyphs, runs.iter().map(|run| run.line_w).fold(0.0, f32::max))
    }
}

/// One line of the text: whatever would break it or not be seen becomes a space.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect()
}

/// Whether a grapheme is meant as a picture (Unicode Technical Standard 51, section 4): by itself, or because a
/// variation selector makes it one.
fn is_emoji(grapheme: &str) -> bool {
    let pictured = |c: char| {
        matches!(
            c.emoji_status(),
            EmojiStatus::EmojiPresentation
                | EmojiStatus::EmojiPresentationAndModifierBase
                | EmojiStatus::EmojiPresentationAndEmojiComponent
                | EmojiStatus::EmojiPresentationAndModifierAndEmojiComponent
        ) || c == '\u{FE0F}'
    };
    grapheme.chars().any(pictured) && !grapheme.contains('\u{FE0E}')
}
