//! What a plan must know of a source video.

use std::sync::Arc;

use crate::frame_rate::FrameRate;
use crate::frame_times::FrameTimes;
use crate::rational::Rat;

/// The facts of one source video that edits are checked and planned against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFacts {
    /// Width of the displayed picture (upright, square pixels), in pixels.
    pub width: u32,
    /// Height of the displayed picture, in pixels.
    pub height: u32,
    /// When each frame is shown.
    pub frames: Arc<FrameTimes>,
    /// Nominal rate; real times are in `frames`.
    pub rate: FrameRate,
    /// Whether there is a sound track.
    pub has_audio: bool,
}

impl SourceFacts {
    /// How far past the end a time may lie and still be clamped to it: one frame, in seconds.
    pub fn tolerance(&self) -> Rat {
        self.rate.seconds(1).max(self.frames.last_frame_duration())
    }
}
