//! Rendering a video's frames at their own times: what overlay, annotated and clip have in common.
//!
//! Parts are cut where the source's groups of pictures begin, so that no frame is decoded twice. Each is decoded, drawn
//! on and encoded by the thread that renders it; several parts go on side by side.

use std::ops::Range;
use std::path::Path;

use edits::spec::encoding::Encoding;
use edits::{AudioPart, AudioPiece, CropRect, FrameTimes, Rat};
use media::{
    AudioSource, Canvas, CanvasFormat, Cropper, StreamShape, TimedEncoder, TimedSettings, YuvFrame, render_audio,
};
use serde::{Deserialize, Serialize};

use super::{RenderContext, RenderError, RenderedSegment, SegmentPlan, Source, Stage};

/// Several parts are decoded side by side: one thread each.
const DECODE_THREADS: usize = 1;
const SAMPLE_RATE: u32 = 48_000;

/// What is drawn on a frame, by its number in the source.
pub(super) type Draw<'a> = dyn FnMut(&mut Canvas, usize) + 'a;

/// A source whose frames are encoded again at their own times. Reads the file when it is made.
#[derive(Serialize, Deserialize)]
pub(super) struct SourceFrames {
    pub shape: StreamShape,
    pub settings: TimedSettings,
}

impl SourceFrames {
    pub fn open(source: &Source, encoding: &Encoding) -> Result<Self, RenderError> {
        let shape = StreamShape::read(&source.path, &source.index)?;
        let settings = TimedSettings::of(&shape, encoding.crf, &encoding.preset);
        Ok(Self { shape, settings })
    }

    /// What pictures are like when they are drawn on.
    pub fn canvas(&self) -> CanvasFormat {
        let StreamShape { width, height, matrix, range, .. } = self.shape;
        CanvasFormat { width, height, matrix, range }
    }

    /// Decodes `frames`, lets `draw` draw on each and encodes them into `out`, with `settings` that may differ from
    /// [`SourceFrames::settings`] in how they are encoded.
    pub fn render(
        &self,
        run: &RenderContext,
        source: &Source,
        frames: Range<usize>,
        settings: &TimedSettings,
        draw: &mut Draw,
        out: &Path,
    ) -> Result<RenderedSegment, RenderError> {
        let mut decoder = run.decoder(source, DECODE_THREADS)?;
        let mut encoder = TimedEncoder::create(out, settings)?;
        let mut pictures = Pictures { shape: &self.shape, cropper: Cropper::new(), frame: YuvFrame::new(2, 2) };
        let pts = source.facts.frames.pts();
        let mut done = RenderedSegment::default();
        for number in frames {
            let picture = run.counters.time(Stage::Decode, || decoder.frame(number))?;
            let frame = run.counters.time(Stage::Transform, || {
                let frame = pictures.take(&picture)?;
                draw(&mut Canvas::over(self.canvas(), frame), number);
                Ok::<_, RenderError>(frame)
            })?;
            run.counters.time(Stage::Encode, || encoder.push(frame, pts[number], false))?;
            run.counters.frame_done();
            done.frames += 1;
        }
        run.counters.time(Stage::Encode, || encoder.finish())?;
        run.counters.concealed(decoder.warnings());
        Ok(done)
    }
}

/// Decoded pictures as frames to draw on; the buffer is reused.
struct Pictures<'a> {
    shape: &'a StreamShape,
    cropper: Cropper,
    frame: YuvFrame,
}

impl Pictures<'_> {
    fn take(&mut self, picture: &media::Picture) -> Result<&mut YuvFrame, RenderError> {
        if self.shape.not_plain.is_none() {
            picture.to_frame(&mut self.frame)?;
        } else {
            let (width, height) = (self.shape.width, self.shape.height);
            let whole = CropRect { x: 0.0, y: 0.0, width: f64::from(width), height: f64::from(height) };
            self.frame = self.cropper.yuv(picture, &whole, 0.0, width, height);
        }
        Ok(&mut self.frame)
    }
}

/// Cuts `frames` into parts of at least `seconds`, each but the first beginning where a group of pictures does. What
/// is left at the end is no part of its own: an encoder costs more to start than a few frames do.
pub(super) fn cut(source: &Source, frames: &Range<usize>, seconds: f64) -> Vec<Range<usize>> {
    let times = &source.facts.frames;
    let group = |frame: usize| source.index.group_of(frame);
    let long_enough = |from: usize, to: usize| {
        edits::rational::to_f64(times.seconds(to)) - edits::rational::to_f64(times.seconds(from)) >= seconds
    };
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut start = frames.start;
    for frame in frames.clone().skip(1) {
        let cut_here = group(frame) != group(frame - 1) && long_enough(start, frame);
        if cut_here && long_enough(frame, frames.end - 1) {
            parts.push(start..frame);
            start = frame;
        }
    }
    if start < frames.end {
        parts.push(start..frames.end);
    }
    parts
}

/// The plan's segments, as jobs know them.
pub(super) fn segments(parts: &[Range<usize>]) -> Vec<SegmentPlan> {
    let mut first_frame = 0;
    let plan = |(index, part): (u32, &Range<usize>)| {
        let segment = SegmentPlan { index, first_frame, frames: part.len() as u64 };
        first_frame += segment.frames;
        segment
    };
    (0..).zip(parts).map(plan).collect()
}

/// The tick at which `frame` is shown, or, for the number of frames, at which the last one ends.
pub(super) fn tick(times: &FrameTimes, frame: usize) -> i64 {
    times.pts().get(frame).copied().unwrap_or(times.end())
}

/// Renders the sound of stretches of a source, one after the other, into `out`.
pub(super) fn sound(
    run: &RenderContext,
    source: &Source,
    stretches: &[Range<usize>],
    out: &Path,
) -> Result<(), RenderError> {
    let times = &source.facts.frames;
    let sample = |seconds: Rat| {
        let exact = seconds * Rat::from(i128::from(SAMPLE_RATE));
        u64::try_from(edits::rational::round_half_up(exact)).unwrap_or(0)
    };
    let mut at = Rat::from(0);
    let piece = |frames: &Range<usize>| {
        let (start, end) = times.span(frames);
        let from = at;
        at += end - start;
        let part = AudioPart { source_start: start, source_end: end, speed: Rat::from(1) };
        AudioPiece { source: 0, samples: sample(from)..sample(at), parts: vec![part], fade_in: 0, fade_out: 0 }
    };
    let pieces: Vec<AudioPiece> = stretches.iter().map(piece).collect();
    let from = AudioSource::of(&source.path, &source.index);
    render_audio(&[from], &pieces, SAMPLE_RATE, out, &run.beats())?;
    Ok(())
}
