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
    /// Which samples of the output it fills. Piece follows piece without a gap; where two overlap, as in a dissolve,
    /// they are added.
    pub samples: Range<u64>,
    /// How many of its first samples rise linearly from silence: sample k is multiplied by
    /// (k + 1/2) / `fade_in`.
    pub fade_in: u64,
    /// How many of its last samples fall linearly to silence: sample k of them is multiplied
    /// by 1 - (k + 1/2) / `fade_out`.
    pub fade_out: u64,
    /// What fills them, one after the other; none: silence, for the source has no sound.
    pub parts: Vec<AudioPart>,
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
    /// A clip of N frames that begins at output frame F fills the samples round(F · sr / fps) to
    /// round((F + N) · sr / fps); its parts last exactly N / fps. Sound goes along with the pictures of a transition:
    /// in a dissolve one clip's falls while the next one's rises over the frames they share, the two always adding up
    /// to 1; in a fade it falls to silence and rises from it, half the transition each.
    pub fn audio(&self, sample_rate: u32) -> Vec<AudioPiece> {
        if self.clips.iter().all(|clip| !clip.has_audio) {
            return Vec::new();
        }
        (0..self.clips.len()).map(|i| self.audio_of(i, sample_rate)).collect()
    }

    fn audio_of(&self, i: usize, sample_rate: u32) -> AudioPiece {
        let clip = &self.clips[i];
        let sample = |frame: Rat| sample_at(frame, self.output.rate, sample_rate);
        let (first, end) = (whole(clip.first_frame), whole(clip.first_frame + clip.frames));
        let rises = self.faded_frames(self.seam_before(i));
        let falls = self.faded_frames(self.seam_after(i));
        let stretches = if clip.has_audio { clip.map.stretches() } else { Vec::new() };
        let part = |stretch: crate::Stretch| AudioPart {
            source_start: stretch.start,
            source_end: stretch.end,
            speed: stretch.speed,
        };
        AudioPiece {
            source: clip.source,
            samples: sample(first)..sample(end),
            fade_in: sample(first + rises) - sample(first),
            fade_out: sample(end) - sample(end - falls),
            parts: stretches.into_iter().map(part).collect(),
        }
    }
}

fn whole(frames: u64) -> Rat {
    Rat::from(i128::from(frames))
}

/// The sample at which an output frame, or a part of one, begins.
fn sample_at(frame: Rat, rate: FrameRate, sample_rate: u32) -> u64 {
    let exact = frame / rate.as_rat() * Rat::from(i128::from(sample_rate));
    u64::try_from(round_half_up(exact)).expect("frames and rates are not negative")
}
