//! A reel's chapter marks, and the default spotlight regions of its clips.

use crate::line::one_line;
use crate::plan::FramingPlan;
use crate::rational::{Rat, to_f64};
use crate::spec::overlay::{Region, Space};

/// A chapter of a reel: one clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chapter {
    /// The clip's name, or `Clip` and its number.
    pub name: String,
    /// The output frame it starts at.
    pub start_frame: u64,
    /// The output frame it ends before: the next one's first, or the reel's end.
    pub end_frame: u64,
}

/// How long a default spotlight region lasts, in seconds, and how long at least.
const REGION: i128 = 2;
const SHORTEST_REGION: Rat = Rat::new_raw(1, 2);

impl FramingPlan {
    /// One chapter a clip, without gaps and overlaps; none for a reel of a single clip.
    pub fn chapters(&self) -> Vec<Chapter> {
        if self.clips.len() < 2 {
            return Vec::new();
        }
        let chapters = self.clips.iter().enumerate().map(|(i, clip)| Chapter {
            name: Some(one_line(&clip.name)).filter(|name| !name.is_empty()).unwrap_or(format!("Clip {}", i + 1)),
            start_frame: clip.first_frame,
            end_frame: self.end_of(i),
        });
        chapters.collect()
    }

    /// Where an overlay of this reel may have its spotlights: the first 2 s of each clip, in the reel's seconds and
    /// pixels, without keyframes.
    ///
    /// A region ends where the next clip begins but is never under 0.5 s; the next one begins after it, for regions do
    /// not overlap. So that of a last clip under 0.5 s ends after the reel.
    pub fn spotlight_regions(&self) -> Vec<Region> {
        let rate = self.output.rate;
        let mut latest = Rat::from(0);
        let regions = self.clips.iter().enumerate().map(|(i, clip)| {
            let first = rate.seconds(clip.first_frame);
            let start = first.max(latest);
            let end = (first + Rat::from(REGION)).min(rate.seconds(self.end_of(i))).max(start + SHORTEST_REGION);
            latest = end;
            let space = Some(Space { width: self.output.width, height: self.output.height });
            Region { start: to_f64(start), end: to_f64(end), space, keyframes: Vec::new() }
        });
        regions.collect()
    }

    /// Where the next clip begins, or the reel ends.
    fn end_of(&self, i: usize) -> u64 {
        self.clips.get(i + 1).map_or(self.frames, |next| next.first_frame)
    }
}
