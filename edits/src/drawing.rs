//! What is drawn on one picture, in numbers: ellipses, strokes, lines of text, cards.
//!
//! All coordinates are luma pixels of the displayed picture, at sub-pixel positions: pixel (i, j) covers
//! `[i, i + 1) x [j, j + 1)`, y points down. Opacities are 0 to 1.

use crate::color::Rgb;
use crate::spec::overlay::Effect;

/// An ellipse with upright axes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ellipse {
    /// Horizontal centre.
    pub cx: f64,
    /// Vertical centre.
    pub cy: f64,
    /// Half the width, at least half a pixel.
    pub rx: f64,
    /// Half the height, at least half a pixel.
    pub ry: f64,
}

/// A colour laid over an area.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paint {
    /// The colour.
    pub color: Rgb,
    /// How much of it.
    pub opacity: f64,
}

/// A line along an ellipse, half its width on either side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stroke {
    /// The colour.
    pub color: Rgb,
    /// How much of it.
    pub opacity: f64,
    /// Width in pixels.
    pub width: f64,
    /// From and to which parametric angle it runs, in degrees, clockwise from +x as y points down; `None`: all round.
    pub arc: Option<(f64, f64)>,
}

/// A spotlight on one frame, in drawing order: effect, fill, outline, stroke.
///
/// The exit fade is in every opacity and in `dim`. Parts that would not be seen are still there, with opacity 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spotlight {
    /// Where it is, already laid on the ground for that shape.
    pub ellipse: Ellipse,
    /// What it does to the picture.
    pub effect: Effect,
    /// How strongly: factors are 1 - dim and 1 + dim.
    pub dim: f64,
    /// What fills the ellipse.
    pub fill: Option<Paint>,
    /// The dark line under the stroke.
    pub outline: Option<Stroke>,
    /// The line around the ellipse.
    pub stroke: Option<Stroke>,
}

/// A line of text where it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacedText {
    /// What it says.
    pub text: String,
    /// Horizontal centre of the line.
    pub cx: f64,
    /// Vertical centre of the line.
    pub cy: f64,
    /// Size of the letters (their em).
    pub size: f64,
    /// Their colour.
    pub color: Rgb,
}

/// An upright rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PixelBox {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// A line of text on a card, centred in the card's width.
#[derive(Clone, Debug, PartialEq)]
pub struct CardText {
    /// What it says; a renderer shortens it with an ellipsis where it is wider than the card allows.
    pub text: String,
    /// Vertical centre of the line's box, which is `size` high.
    pub center_y: f64,
    /// Size of the letters (their em).
    pub size: f64,
    /// Their colour.
    pub color: Rgb,
}

/// A card over a clip: a box with a border, a title and perhaps notes.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// The box, with its border.
    pub area: PixelBox,
    /// Width of the border, inside the box's edge.
    pub border: f64,
    /// Colour of the border, opaque.
    pub border_color: Rgb,
    /// What fills the box within its border.
    pub background: Paint,
    /// The upper line.
    pub title: CardText,
    /// The lower line.
    pub notes: Option<CardText>,
    /// No line may be wider, in pixels.
    pub max_text_width: f64,
}
