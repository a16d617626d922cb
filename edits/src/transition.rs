//! How one clip of a reel goes over into the next, frame by frame.
//!
//! A transition takes a whole number of output frames, d: its duration rounded, and at most half the shorter of its two
//! clips, so that a clip's two transitions never meet and no three clips are seen at a time. Everything is taken at a
//! frame's own time, n / fps.
//!
//! - **Cut**: d = 0.
//! - **Fade**: nothing overlaps. The last d/2 of a clip fall to black and the first d/2 of the next rise from it; the
//!   next clip's first frame, which is at the seam, is black.
//! - **Dissolve**: the next clip begins d frames before the last one ends. Frame k of these d is the last clip's with
//!   k/d of the next clip's over it. The reel is d frames shorter.

use crate::plan::{FramingPlan, Shown};
use crate::rational::Rat;
use crate::spec::framing::TransitionKind;

/// How an output frame is composed: `base · level`, and in a dissolve `base · (1 - weight) + incoming · weight`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameComposition {
    /// The clip that is shown; in a dissolve the outgoing one.
    pub base: Shown,
    /// Brightness of `base`: 1 unchanged, 0 black, between them in a fade.
    pub level: f64,
    /// In a dissolve the incoming clip and its weight, above 0 and below 1.
    pub incoming: Option<(Shown, f64)>,
}

impl FramingPlan {
    /// The composition of output frame `n`.
    ///
    /// # Panics
    /// When `n` is not below [`FramingPlan::frames`].
    pub fn composition(&self, n: u64) -> FrameComposition {
        assert!(n < self.frames, "output frame {n} of a reel of {} frames", self.frames);
        // A clip that dissolves into the next goes on after the next one has begun.
        let i = self.clips.partition_point(|clip| clip.first_frame + clip.frames <= n);
        let incoming = self.clips.get(i + 1).filter(|next| next.first_frame < n).map(|next| {
            let weight = (n - next.first_frame) as f64 / self.seams[i] as f64;
            (self.shown_by(i + 1, n), weight)
        });
        FrameComposition { base: self.shown_by(i, n), level: self.level(i, n), incoming }
    }

    /// What output frame `n` shows; in a dissolve, of the outgoing clip.
    ///
    /// # Panics
    /// When `n` is not below [`FramingPlan::frames`].
    pub fn shown(&self, n: u64) -> Shown {
        self.composition(n).base
    }

    /// How much of clip `i` is seen at its output frame `n`, where it fades.
    fn level(&self, i: usize, n: u64) -> f64 {
        if self.transition != TransitionKind::Fade {
            return 1.0;
        }
        let clip = &self.clips[i];
        let after_start = (n - clip.first_frame) as f64;
        let before_end = (clip.first_frame + clip.frames - n) as f64;
        let share = |distance: f64, seam: u64| if seam == 0 { 1.0 } else { (distance / (seam as f64 / 2.0)).min(1.0) };
        share(after_start, self.seam_before(i)).min(share(before_end, self.seam_after(i)))
    }

    /// Frames of the transition from the clip before `i`, 0 for the first.
    pub(crate) fn seam_before(&self, i: usize) -> u64 {
        i.checked_sub(1).map_or(0, |before| self.seams[before])
    }

    /// Frames of the transition from clip `i` to the next, 0 for the last.
    pub(crate) fn seam_after(&self, i: usize) -> u64 {
        self.seams.get(i).copied().unwrap_or(0)
    }

    /// How many output frames of a clip's sound rise or fall in a transition of `seam` frames.
    pub(crate) fn faded_frames(&self, seam: u64) -> Rat {
        let whole = Rat::from(i128::from(seam));
        match self.transition {
            TransitionKind::Cut => Rat::from(0),
            TransitionKind::Fade => whole / 2,
            TransitionKind::Dissolve => whole,
        }
    }
}
