//! An overlay export, frame by frame: which frames change, and what is drawn on them.

use std::ops::Range;
use std::sync::Arc;

use crate::drawing::{PlacedText, Spotlight};
use crate::frame_times::FrameTimes;
use crate::line::one_line;
use crate::rational::seconds_from_f64;
use crate::source::SourceFacts;
use crate::spec::overlay::{OverlaySpec, TextEdit};
use crate::spotlight::SpotPath;

/// The lines that text sizes are written for.
const NOMINAL_HEIGHT: f64 = 1080.0;

/// What is drawn on which frame of a video.
#[derive(Clone, Debug)]
pub struct OverlayPlan {
    times: Arc<FrameTimes>,
    /// By rising frames; no two share one.
    spots: Vec<(Range<usize>, SpotPath)>,
    texts: Vec<PlacedText>,
    /// The frames of each text.
    shown: Vec<Range<usize>>,
}

/// What is drawn on one frame: the spotlight, then the texts over it, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Drawn {
    /// The spotlight, if one is on.
    pub spotlight: Option<Spotlight>,
    /// Indices into [`OverlayPlan::texts`].
    pub texts: Vec<usize>,
}

impl OverlayPlan {
    /// Plans a request that was checked before, from the facts of its source.
    ///
    /// A spotlight is on in the frames with start <= PTS < end of its region, up to its last keyframe; a text in those
    /// with start <= PTS < end. A text of nothing but spaces is not drawn.
    pub fn new(spec: &OverlaySpec, source: &SourceFacts) -> Self {
        let times = &source.frames;
        let paths = spec.regions.iter().filter_map(|region| {
            let path = SpotPath::new(spec, region, (source.width, source.height), times.duration())?;
            let frames = times.between(path.start(), path.end());
            let frames = frames.start..frames.end.min(times.count_until(path.last()));
            (!frames.is_empty()).then_some((frames, path))
        });
        let mut spots: Vec<_> = paths.collect();
        spots.sort_by_key(|(frames, _)| frames.start);
        let texts = spec.texts.iter().map(|text| (placed(text, source), frames_of(text, times)));
        let (texts, shown) = texts.filter(|(text, frames)| !text.text.is_empty() && !frames.is_empty()).unzip();
        Self { times: Arc::clone(times), spots, texts, shown }
    }

    /// How many frames the video has.
    pub fn frames(&self) -> usize {
        self.times.len()
    }

    /// The stretches of frames on which something is drawn: half-open, rising, never touching. All others stay as
    /// they are.
    pub fn touched(&self) -> Vec<Range<usize>> {
        let mut drawn: Vec<Range<usize>> = self.spots.iter().map(|(frames, _)| frames.clone()).collect();
        drawn.extend(self.shown.iter().cloned());
        drawn.sort_by_key(|frames| frames.start);
        let mut touched: Vec<Range<usize>> = Vec::new();
        for frames in drawn {
            match touched.last_mut() {
                Some(last) if frames.start <= last.end => last.end = last.end.max(frames.end),
                _ => touched.push(frames),
            }
        }
        touched
    }

    /// What is drawn on a frame of the video. Panics when it has no such frame.
    pub fn drawn(&self, frame: usize) -> Drawn {
        let time = self.times.seconds(frame);
        let next = self.spots.partition_point(|(frames, _)| frames.start <= frame);
        let spot = next.checked_sub(1).map(|i| &self.spots[i]).filter(|(frames, _)| frames.contains(&frame));
        let texts = self.shown.iter().enumerate().filter(|(_, frames)| frames.contains(&frame));
        Drawn { spotlight: spot.map(|(_, path)| path.at(time)), texts: texts.map(|(i, _)| i).collect() }
    }

    /// The texts that are drawn at some time, where they are drawn.
    pub fn texts(&self) -> &[PlacedText] {
        &self.texts
    }
}

fn placed(text: &TextEdit, source: &SourceFacts) -> PlacedText {
    let (width, height) = (f64::from(source.width), f64::from(source.height));
    PlacedText {
        text: one_line(&text.text),
        cx: text.x * width,
        cy: text.y * height,
        size: text.size * height / NOMINAL_HEIGHT,
        color: text.color,
    }
}

fn frames_of(text: &TextEdit, times: &FrameTimes) -> Range<usize> {
    times.between(seconds_from_f64(text.start), seconds_from_f64(text.end))
}
