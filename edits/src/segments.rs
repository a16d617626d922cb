//! The reel cut into segments: the parts that are rendered, stored and retried on their own.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::plan::{FramingPlan, Shown};
use crate::rational::{round_half_up, seconds_from_f64};
use crate::transition::FrameComposition;

/// A picture that is inferred once: a source frame of a clip.
type Picture = (usize, usize);

impl FramingPlan {
    /// The reel cut into segments of about `seconds`. A pure function of plan and length: every node gets the same cuts.
    ///
    /// The cuts are at whole multiples of that length, each moved forward to the first output frame that shares no
    /// picture with the one before it: a source frame that is seen on both sides of a cut would be inferred twice.
    pub fn segments(&self, seconds: f64) -> Vec<Range<u64>> {
        let length = round_half_up(seconds_from_f64(seconds) * self.output.rate.as_rat()).max(1) as u64;
        let mut segments = Vec::new();
        let mut start = 0;
        while start < self.frames {
            // The next multiple after `start`, which a moved cut may have passed some of.
            let end = self.free_cut((start / length + 1).saturating_mul(length));
            segments.push(start..end);
            start = end;
        }
        segments
    }

    /// The first frame from `n` on that shares no picture with the frame before it, or the reel's end.
    fn free_cut(&self, n: u64) -> u64 {
        if n >= self.frames {
            return self.frames;
        }
        let mut before = pictures(&self.composition(n - 1));
        for cut in n..self.frames {
            let after = pictures(&self.composition(cut));
            if after.iter().flatten().all(|picture| !before.contains(&Some(*picture))) {
                return cut;
            }
            before = after;
        }
        self.frames
    }

    /// The pictures that a model upscales for the whole reel, counted by the (width, height) they are fed at: source
    /// frames of a clip that are seen, each once, however many output frames show them. Takes one step per output
    /// frame.
    pub fn feeds(&self) -> Vec<((u32, u32), u64)> {
        // A clip's source frames never go back, so one that was seen before was seen last.
        let mut latest: Vec<Option<usize>> = vec![None; self.clips.len()];
        let mut feeds: BTreeMap<(u32, u32), u64> = BTreeMap::new();
        for n in 0..self.frames {
            let composition = self.composition(n);
            for shown in [Some(composition.base), composition.incoming.map(|(shown, _)| shown)].into_iter().flatten() {
                let Some(feed) = shown.feed else { continue };
                if latest[shown.clip].replace(shown.source_frame) != Some(shown.source_frame) {
                    *feeds.entry(feed).or_default() += 1;
                }
            }
        }
        feeds.into_iter().collect()
    }
}

fn pictures(composition: &FrameComposition) -> [Option<Picture>; 2] {
    let picture = |shown: Shown| (shown.clip, shown.source_frame);
    [Some(picture(composition.base)), composition.incoming.map(|(shown, _)| picture(shown))]
}
