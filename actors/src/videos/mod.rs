//! Videos: importing uploaded files, and what is computed from single frames of them.
//!
//! * [`import`]: probes a finished upload, stores it and builds its frame index.
//! * [`source`]: opens a video, or the result of an export, as a source of pictures.
//! * [`frame_detection`]: persons in one frame, answered at once. [`thumbnail`]: one frame as a small JPEG.

pub mod frame_detection;
pub mod import;
pub mod source;
pub mod thumbnail;
