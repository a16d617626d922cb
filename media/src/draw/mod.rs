//! Drawing on decoded pictures: spotlights, texts and cards, straight on the planes of 8-bit 4:2:0 Y'CbCr.
//!
//! Nothing is converted to RGB and back, and what is not drawn on stays as it is, bit for bit. Edges are anti-aliased:
//! each plane's sample takes the share of its own area that is covered (a chroma sample's area is that of 2x2 luma
//! samples).

mod canvas;
mod coverage;
mod curve;
mod tone;

pub use canvas::{Canvas, CanvasFormat};
