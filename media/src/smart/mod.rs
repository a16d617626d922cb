//! Smart render: only the stretches of a video that are drawn on are encoded again; all other packets stay as they are.
//!
//! A stretch reaches from one IDR to the next: nothing outside it refers into it. [`smart_layout`] finds the stretches
//! and whether x264 can go on in the stream's manner, [`splice`] puts rendered stretches into a copy of the file.
//!
//! Rendered stretches bring parameter sets of their own under a free number, beside those of the source; where x264
//! gives the very sets the source has, as for files of this crate, they are shared.

mod layout;
mod matching;
mod splice;

pub use layout::{SmartLayout, smart_layout};
pub use splice::{Spliced, splice};
