//! Synthetic sources whose every frame and every sound can be recognised after any amount of processing: for tests,
//! benchmarks and measurements. All of it is made in-process.

mod clicks;
pub mod hostile;
mod stamp;

pub use clicks::{find_clicks, read_sound, write_clicks};
pub use stamp::{StampedVideo, read_stamp, stamp_area};
