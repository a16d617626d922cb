//! Drawing on decoded pictures: spotlights, texts and cards, straight on the planes of 8-bit 4:2:0 Y'CbCr.
//!
//! Nothing is converted to RGB and back, and what is not drawn on stays as it is, bit for bit. Edges are anti-aliased:
//! each plane's sample takes the share of its own area that is covered (a chroma sample's area is that of 2x2 luma
//! pixels).
//!
//! A [`Painter`] draws on a [`Canvas`]. A spotlight moves and is computed on every frame: `curve` computes how far a
//! point is from an ellipse, `coverage` makes spans of it, `tone` maps whole runs. Texts and cards stand still:
//! [`TextShaper`] puts them together on a `layer` once and gives a [`Sprite`].

mod canvas;
mod card;
mod coverage;
mod curve;
mod layer;
mod painter;
mod sprite;
mod text;
mod tone;

pub use canvas::{Canvas, CanvasFormat};
pub use painter::Painter;
pub use sprite::Sprite;
pub use text::{TextShaper, load_fonts};
