//! Spotlights, and sprites, on a canvas.

use edits::{Effect, Spotlight, Stroke};

use super::canvas::{Canvas, CanvasFormat, luma_step};
use super::coverage::{Arc, Band, Shape, Shares, Span};
use super::curve::Curve;
use super::sprite::Sprite;
use super::tone::Tone;
use crate::colour::DrawnColour;

/// Draws on pictures; keep one for all frames, so that its buffers are reused.
#[derive(Default)]
pub struct Painter {
    spans: Vec<Span>,
}

impl Painter {
    /// A painter for pictures of any format.
    pub fn new() -> Self {
        Self::default()
    }

    /// Draws a spotlight: its effect, then fill, outline and stroke over it.
    ///
    /// An effect scales Y' - black, Cb - 128 and Cr - 128, rounded to the nearest and clipped. Samples that nothing is
    /// drawn on keep their value.
    pub fn spotlight(&mut self, canvas: &mut Canvas, spotlight: &Spotlight) {
        let spotlight = visible(spotlight);
        if spotlight.dim == 0.0 && (spotlight.fill, spotlight.outline, spotlight.stroke) == (None, None, None) {
            return;
        }
        // Both chroma planes have the same samples, so their coverage is computed once.
        self.planes(canvas, &spotlight, 0..1);
        self.planes(canvas, &spotlight, 1..3);
    }

    /// Draws a text or a card.
    ///
    /// # Panics
    /// When the sprite was made for another picture format.
    pub fn sprite(&mut self, canvas: &mut Canvas, sprite: &Sprite) {
        sprite.blend(canvas);
    }

    fn planes(&mut self, canvas: &mut Canvas, spotlight: &Spotlight, planes: std::ops::Range<usize>) {
        let format = canvas.format();
        let shape = shape(spotlight, luma_step(planes.start) as f64);
        let styles: Vec<PlaneStyle> = planes.clone().map(|plane| PlaneStyle::new(spotlight, format, plane)).collect();
        let (width, height) = format.plane_size(planes.start);
        let (columns, rows) = shape.bounds(width, height);
        for y in 0..height {
            if rows.contains(&y) {
                shape.row(y, columns.clone(), &mut self.spans);
            } else {
                self.spans.clear();
            }
            let drawn = if rows.contains(&y) { columns.clone() } else { 0..0 };
            for (plane, style) in planes.clone().zip(&styles) {
                let row = canvas.plane(plane).row(y);
                style.outside.apply(&mut row[..drawn.start]);
                style.outside.apply(&mut row[drawn.end..]);
                style.spans(row, &self.spans);
            }
        }
    }
}

/// The spotlight without what is not seen.
fn visible(spotlight: &Spotlight) -> Spotlight {
    let seen = |stroke: Option<Stroke>| stroke.filter(|stroke| stroke.opacity > 0.0 && stroke.width > 0.0);
    Spotlight {
        dim: if spotlight.effect == Effect::None { 0.0 } else { spotlight.dim },
        fill: spotlight.fill.filter(|fill| fill.opacity > 0.0),
        outline: seen(spotlight.outline),
        stroke: seen(spotlight.stroke),
        ..*spotlight
    }
}

/// What a spotlight covers, in samples that are `step` luma pixels apart.
fn shape(spotlight: &Spotlight, step: f64) -> Shape {
    let ellipse = &spotlight.ellipse;
    let band = |stroke: Option<Stroke>| {
        stroke.map(|stroke| Band { half_width: stroke.width / 2.0 / step, arc: stroke.arc.and_then(Arc::new) })
    };
    Shape {
        curve: Curve::new(ellipse.cx / step, ellipse.cy / step, ellipse.rx / step, ellipse.ry / step),
        outline: band(spotlight.outline),
        stroke: band(spotlight.stroke),
    }
}

/// How a spotlight changes the samples of one plane: lookup tables by code value, and the values that are blended.
struct PlaneStyle {
    /// Whether the effect is outside the ellipse.
    effect_outside: bool,
    /// The result of the effect for each code value, unrounded.
    effect: [f32; 256],
    outside: Tone,
    inside: Tone,
    fill: Veil,
    outline: Veil,
    stroke: Veil,
}

/// A code value laid over others.
#[derive(Debug, Clone, Copy, Default)]
struct Veil {
    value: f32,
    opacity: f32,
}

impl Veil {
    fn over(self, sample: f32, share: f32) -> f32 {
        sample + (self.value - sample) * (self.opacity * share)
    }
}

impl PlaneStyle {
    fn new(spotlight: &Spotlight, format: CanvasFormat, plane: usize) -> Self {
        let colour = DrawnColour::new(format.matrix, format.range);
        let veil = |rgb: edits::Rgb, opacity: f64| {
            let [r, g, b] = [rgb.r, rgb.g, rgb.b].map(|part| f32::from(part) / 255.0);
            Veil { value: colour.code_values([r, g, b, 1.0])[plane], opacity: opacity.clamp(0.0, 1.0) as f32 }
        };
        let fill = spotlight.fill.map(|fill| veil(fill.color, fill.opacity)).unwrap_or_default();
        let line = |stroke: Option<Stroke>| stroke.map(|s| veil(s.color, s.opacity)).unwrap_or_default();
        let zero = if plane == 0 { format.range.black() } else { 128 };
        let effect_outside = spotlight.effect == Effect::DarkOverlay;
        let factor = if effect_outside { 1.0 - spotlight.dim } else { 1.0 + spotlight.dim };
        let scaled = |value: u8| {
            let zero = f64::from(zero);
            (zero + (f64::from(value) - zero) * factor).clamp(0.0, 255.0)
        };
        let filled = |value: f64| value + (f64::from(fill.value) - value) * f64::from(fill.opacity);
        Self {
            effect_outside,
            effect: std::array::from_fn(|value| scaled(value as u8) as f32),
            outside: Tone::scaled(zero, if effect_outside { factor } else { 1.0 }),
            inside: Tone::new(|value| filled(if effect_outside { f64::from(value) } else { scaled(value) })),
            fill,
            outline: line(spotlight.outline),
            stroke: line(spotlight.stroke),
        }
    }

    fn spans(&self, row: &mut [u8], spans: &[Span]) {
        for span in spans {
            match span {
                Span::Outside(run) => self.outside.apply(&mut row[run.clone()]),
                Span::Inside(run) => self.inside.apply(&mut row[run.clone()]),
                Span::Edge(x, shares) => row[*x] = self.edge(row[*x], shares),
            }
        }
    }

    fn edge(&self, sample: u8, shares: &Shares) -> u8 {
        let value = f32::from(sample);
        let affected = if self.effect_outside { 1.0 - shares.ellipse } else { shares.ellipse };
        let value = value + (self.effect[usize::from(sample)] - value) * affected;
        let value = self.fill.over(value, shares.ellipse);
        let value = self.outline.over(value, shares.outline);
        let value = self.stroke.over(value, shares.stroke);
        (value + 0.5) as u8
    }
}
