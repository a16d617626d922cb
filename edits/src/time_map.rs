//! From output frames to source times, exactly.

use crate::frame_rate::FrameRate;
use crate::rational::{Rat, add, multiply, round_half_up};

/// A stretch of a clip at one speed, in source seconds from the first displayed frame of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Where it begins.
    pub start: Rat,
    /// Where it ends, after `start`.
    pub end: Rat,
    /// Source seconds per output second, positive.
    pub speed: Rat,
}

/// The output-to-source time map of one clip.
///
/// A clip lasts D = sum of length / speed and has N = max(1, round-half-up(D · fps)) output frames; output frame n
/// is at exactly n / fps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeMap {
    rate: FrameRate,
    pieces: Vec<Piece>,
    duration: Rat,
    frames: u64,
}

/// A stretch with where it begins in the output of its clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    output_start: Rat,
    stretch: Stretch,
}

impl TimeMap {
    /// The map of `stretches` played one after the other at `rate`. Stretches that do not last are left out; `None`
    /// when nothing is left.
    pub fn new(stretches: impl IntoIterator<Item = Stretch>, rate: FrameRate) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut duration = Rat::from(0);
        for stretch in stretches {
            if stretch.end > stretch.start && stretch.speed > Rat::from(0) {
                pieces.push(Piece { output_start: duration, stretch });
                duration = add(duration, multiply(stretch.end - stretch.start, stretch.speed.recip()));
            }
        }
        if pieces.is_empty() {
            return None;
        }
        let frames = u64::try_from(round_half_up(multiply(duration, rate.as_rat()))).ok()?.max(1);
        Some(Self { rate, pieces, duration, frames })
    }

    /// D: how long the clip lasts in the output, in seconds.
    pub fn duration(&self) -> Rat {
        self.duration
    }

    /// N: how many output frames the clip has, at least one.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The source time, in seconds, that the clip's output frame `n` stands for.
    pub fn source_time(&self, n: u64) -> Rat {
        let t = self.rate.seconds(n);
        let piece = self.pieces.partition_point(|piece| piece.output_start <= t).saturating_sub(1);
        let Piece { output_start, stretch } = self.pieces[piece];
        add(stretch.start, multiply(t - output_start, stretch.speed))
    }

    /// The stretches that together last exactly the clip's N frames, for its sound.
    ///
    /// N frames are up to half a frame longer or shorter than D; the last stretch is extended or cut by that much, so
    /// that one clip's sound ends where the next one's begins.
    pub fn stretches(&self) -> Vec<Stretch> {
        let length = self.rate.seconds(self.frames);
        let begun = self.pieces.iter().take_while(|piece| piece.output_start < length);
        let mut stretches: Vec<Stretch> = begun.clone().map(|piece| piece.stretch).collect();
        if let (Some(last), Some(piece)) = (stretches.last_mut(), begun.last()) {
            last.end = add(last.start, multiply(length - piece.output_start, last.speed));
        }
        stretches
    }
}
