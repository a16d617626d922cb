//! Videos: imported files, and what is computed from single frames of them.
//!
//! * [`service`]: what can be asked, for handlers and commands.
//! * [`import`]: probes a finished upload, stores it and builds its frame index. `index_builds` decides when the building
//!   begins and ends, `index_permits` how many run at a time.
//! * [`frame`]: one frame of a source. [`frame_detection`]: persons in it, answered at once, bounded by
//!   [`frame_permits`]; [`thumbnail`]: a small JPEG of it. [`decode_gate`]: how many of both are decoded at a time.
//! * [`error`]: why something was refused or failed.

pub mod decode_gate;
pub mod error;
pub mod frame;
pub mod frame_detection;
pub mod frame_permits;
pub mod import;
mod index_builds;
mod index_permits;
pub mod service;
pub mod thumbnail;
