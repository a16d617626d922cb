//! A framing export, frame by frame: everything a render needs to know before it touches a pixel.
//!
//! The composition of frames in transitions is in [`crate::transition`], the cut into segments in [`crate::segments`].

use std::sync::Arc;

use crate::crop::{CropPath, CropRect};
use crate::feed::Feed;
use crate::field_error::FieldError;
use crate::frame_rate::FrameRate;
use crate::frame_times::FrameTimes;
use crate::quality::Quality;
use crate::rational::{Rat, round_half_up, seconds_from_f64, speed_from_f64, to_f64};
use crate::source::SourceFacts;
use crate::spec::detection::steps;
use crate::spec::framing::{ClipEdit, DetectRule, FramingSpec, Transition, TransitionKind, UpscaleMode, check};
use crate::time_map::{Stretch, TimeMap};

/// The reel's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputShape {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames a second.
    pub rate: FrameRate,
    /// Frames from one IDR to the next: a second's, rounded.
    pub gop: u32,
}

/// One clip of the reel.
#[derive(Clone, Debug)]
pub struct ClipPlan {
    /// Index into the sources the plan was made from.
    pub source: usize,
    /// The output frame it begins at; in a dissolve the clip before it goes on beside it.
    pub first_frame: u64,
    /// Output frames it has, at least one.
    pub frames: u64,
    /// From its output frames to source times.
    pub map: TimeMap,
    /// Its crop, by source seconds from `start`.
    pub crop: CropPath,
    /// Degrees counter-clockwise about the frame's centre, before the crop.
    pub rotation: f64,
    /// What it is called.
    pub name: String,
    /// Where it starts, in source seconds.
    pub start: Rat,
    /// Whether its source has sound.
    pub has_audio: bool,
    times: Arc<FrameTimes>,
    feed: Option<Feed>,
}

/// A framing export, frame by frame.
#[derive(Clone, Debug)]
pub struct FramingPlan {
    /// The reel's shape.
    pub output: OutputShape,
    /// Its clips, in order.
    pub clips: Vec<ClipPlan>,
    /// Its length in frames.
    pub frames: u64,
    detect: DetectRule,
    pub(crate) transition: TransitionKind,
    /// Output frames of the transition after each clip but the last.
    pub(crate) seams: Vec<u64>,
}

/// What one output frame shows. Output frames of the same clip and source frame show the same pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shown {
    /// Index of the clip.
    pub clip: usize,
    /// Number of the source frame.
    pub source_frame: usize,
    /// The crop, at sub-pixel positions, of exactly the output's aspect.
    pub crop: CropRect,
    /// The (width, height) at which the model is fed; `None`: not upscaled by a model.
    pub feed: Option<(u32, u32)>,
}

impl FramingPlan {
    /// Plans a request that was checked before, from the facts of its sources, one a clip.
    ///
    /// Errors name what is outside its source, or a clip of which nothing is left.
    pub fn new(spec: &FramingSpec, sources: &[SourceFacts], quality: Quality) -> Result<Self, Vec<FieldError>> {
        let output = &spec.output;
        let mut errors = Vec::new();
        if spec.clips.is_empty() || output.width == 0 || output.height == 0 {
            errors.push(FieldError::new("/clips", "too_few", "there is nothing to render"));
        }
        let mut clips: Vec<ClipPlan> = Vec::with_capacity(spec.clips.len());
        for (i, clip) in spec.clips.iter().enumerate() {
            match sources.get(i).ok_or_else(|| vec![missing_source(i)]).and_then(|source| {
                let feed = (spec.upscale.mode == UpscaleMode::Ai).then_some(quality);
                plan_clip(i, clip, source, spec, feed)
            }) {
                Ok(clip) => clips.push(clip),
                Err(more) => errors.extend(more),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let seams = join(&mut clips, &spec.transition, output.fps);
        Ok(Self {
            output: OutputShape {
                width: output.width,
                height: output.height,
                rate: output.fps,
                gop: output.fps.as_f64().round().max(1.0) as u32,
            },
            frames: clips.last().map_or(0, |clip| clip.first_frame + clip.frames),
            clips,
            detect: spec.detect.rule,
            transition: spec.transition.kind,
            seams,
        })
    }

    /// What clip `i` shows at output frame `n` of the reel, which is one of its frames.
    pub(crate) fn shown_by(&self, i: usize, n: u64) -> Shown {
        let clip = &self.clips[i];
        let source_frame = clip.times.at_or_before(clip.map.source_time(n - clip.first_frame));
        let crop = clip.crop.at(to_f64(clip.times.seconds(source_frame) - clip.start));
        let feed = clip.feed.and_then(|feed| feed.size(crop.height));
        Shown { clip: i, source_frame, crop, feed }
    }

    /// The output frames that detection runs on, ascending, without duplicates.
    pub fn detection_frames(&self) -> Vec<u64> {
        let mut frames = match self.detect {
            DetectRule::None => Vec::new(),
            DetectRule::Opening => self.clips.iter().flat_map(|clip| self.opening_frames(clip)).collect(),
            DetectRule::Every(seconds) => {
                let every = seconds_from_f64(seconds);
                let times = steps(every, self.output.rate.seconds(self.frames));
                times.map(|time| self.nearest_frame(time).min(self.frames - 1)).collect()
            }
        };
        frames.sort_unstable();
        frames.dedup();
        frames
    }

    /// Four points in a clip's first two seconds: at 0, 1/3, 2/3 and 1 of them, or of the clip if it is shorter.
    fn opening_frames(&self, clip: &ClipPlan) -> [u64; 4] {
        // A clip begins on a frame, so rounding its first point up to a frame is that frame.
        let start = self.output.rate.seconds(clip.first_frame);
        let span = clip.map.duration().min(Rat::from(2));
        let last = clip.first_frame + clip.frames - 1;
        [0, 1, 2, 3].map(|third| self.nearest_frame(start + span * Rat::new(third, 3)).min(last))
    }

    fn nearest_frame(&self, time: Rat) -> u64 {
        u64::try_from(round_half_up(time * self.output.rate.as_rat())).unwrap_or(0)
    }
}

/// Puts clips one after the other: sets their first frames. Returns the frames of each transition.
fn join(clips: &mut [ClipPlan], transition: &Transition, rate: FrameRate) -> Vec<u64> {
    let mut seams = Vec::with_capacity(clips.len().saturating_sub(1));
    for i in 1..clips.len() {
        let before = &clips[i - 1];
        let seam = seam_frames(transition, rate, before.frames, clips[i].frames);
        let overlap = if transition.kind == TransitionKind::Dissolve { seam } else { 0 };
        clips[i].first_frame = before.first_frame + before.frames - overlap;
        seams.push(seam);
    }
    seams
}

/// The frames of the transition between two clips of that many frames.
fn seam_frames(transition: &Transition, rate: FrameRate, before: u64, after: u64) -> u64 {
    if transition.kind == TransitionKind::Cut {
        return 0;
    }
    let wanted = round_half_up(seconds_from_f64(transition.duration) * rate.as_rat());
    u64::try_from(wanted).unwrap_or(0).min(before.min(after) / 2)
}

fn missing_source(i: usize) -> FieldError {
    FieldError::new(format!("/clips/{i}"), "unknown_video", "there is no video for this clip")
}

/// One clip, as if it were the reel's first. `feed` is the quality to feed a model with, if one is used.
fn plan_clip(
    i: usize,
    clip: &ClipEdit,
    source: &SourceFacts,
    spec: &FramingSpec,
    feed: Option<Quality>,
) -> Result<ClipPlan, Vec<FieldError>> {
    let pointer = format!("/clips/{i}");
    let errors = check::check_clip(clip, source, &pointer);
    if !errors.is_empty() {
        return Err(errors);
    }
    let output = &spec.output;
    let Some(map) = TimeMap::new(stretches(clip, source.frames.duration()), output.fps) else {
        return Err(vec![FieldError::new(format!("{pointer}/end"), "empty_range", "nothing is left of this clip")]);
    };
    let aspect = f64::from(output.width) / f64::from(output.height);
    let crop = CropPath::new(&clip.crop, aspect, (source.width, source.height), clip.rotation);
    let constant = crop.constant_height().is_some();
    Ok(ClipPlan {
        source: i,
        first_frame: 0,
        frames: map.frames(),
        map,
        crop,
        rotation: clip.rotation,
        name: clip.name.clone(),
        start: seconds_from_f64(clip.start),
        has_audio: source.has_audio,
        times: Arc::clone(&source.frames),
        feed: feed.map(|quality| Feed::new((output.width, output.height), quality, constant)),
    })
}

/// What a clip plays, in source seconds: its segments, or all of it at speed 1, within its trim and the source.
fn stretches(clip: &ClipEdit, duration: Rat) -> Vec<Stretch> {
    let start = seconds_from_f64(clip.start);
    let (mut from, mut to) = (start, seconds_from_f64(clip.end).min(duration));
    if let Some(trim) = clip.trim {
        from = start + seconds_from_f64(trim.start);
        to = to.min(start + seconds_from_f64(trim.end));
    }
    if clip.segments.is_empty() {
        return vec![Stretch { start: from, end: to, speed: Rat::from(1) }];
    }
    let stretch = |segment: &crate::SpeedSegment| Stretch {
        start: (start + seconds_from_f64(segment.start)).max(from),
        end: (start + seconds_from_f64(segment.end)).min(to),
        speed: speed_from_f64(segment.speed),
    };
    clip.segments.iter().map(stretch).collect()
}
