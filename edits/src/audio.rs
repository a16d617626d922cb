//! The sound of a reel: which source times fill which output samples.

use std::ops::Range;

use crate::frame_rate::FrameRate;
use crate::plan::FramingPlan;
use crate::rational::{Rat, round_half_up};

/// The sound of one clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioPiece {
    /// Index of the clip's source, as in [`crate::ClipPlan::source`].
    pub source: usize,
    /// Which samples of the output it fills; piece follows piece without a gap.
    pub samples: Range<u64>,
    /// What fills them, one after the other; none: silence, for the source has no sound.
    pub parts: Vec<AudioPart>,
    /// Samples at its beginning over which it rises from silence, linearly.
    pub fade_in: u64,
    /// Samples at its end over which it falls to silence, linearly.
    pub fade_out: u64,
}

/// A stretch of source sound at one speed, in seconds from the source's first displayed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioPart {
    /// Where it begins.
    pub source_start: Rat,
    /// Where it ends; where the source ends before, silence follows.
    pub source_end: Rat,
    /// Source seconds per output second.
    pub speed: Rat,
}

impl FramingPlan {
    /// The sound of every clip at `sample_rate` samples a second; none when no source has any.
    ///
    /// A clip of N frames after F others fills the samples round(F · sr / fps) to round((F + N) · sr / fps); its
    /// parts last exactly N / fps.
    pub fn audio(&self, sample_rate: u32) -> Vec<AudioPiece> {
        if self.clips.iter().all(|clip| !clip.has_audio) {
            return Vec::new();
        }
        let rate = self.output.rate;
        let pieces = self.clips.iter().map(|clip| {
            let end = clip.first_frame + clip.frames;
            let stretches = if clip.has_audio { clip.map.stretches() } else { Vec::new() };
            let part = |stretch: crate::Stretch| AudioPart {
                source_start: stretch.start,
                source_end: stretch.end,
                speed: stretch.speed,
            };
            AudioPiece {
                source: clip.source,
                samples: sample_at(clip.first_frame, rate, sample_rate)..sample_at(end, rate, sample_rate),
                parts: stretches.into_iter().map(part).collect(),
                fade_in: 0,
                fade_out: 0,
            }
        });
        pieces.collect()
    }
}

fn sample_at(frame: u64, rate: FrameRate, sample_rate: u32) -> u64 {
    let exact = rate.seconds(frame) * Rat::from(i128::from(sample_rate));
    u64::try_from(round_half_up(exact)).expect("frames and rates are not negative")
}
