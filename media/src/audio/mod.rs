//! Sound: cut to the sample, placed by time stamps, encoded once.
//!
//! [`render_audio`] reads the parts a reel shows from its sources, stretches them to their speed, mixes where clips
//! overlap and writes one AAC track. Positions are counted in output samples from time stamps, never by adding up
//! packet lengths, so nothing drifts.

mod decode;
mod encode;
mod piece;
mod render;
mod source;
mod tempo;

pub(crate) use decode::{AudioReader, describe};
pub use render::{AudioStats, render_audio};
pub use source::AudioSource;
