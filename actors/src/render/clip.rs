//! Clip: a stretch of a video as a file of its own, copied packet by packet or encoded again.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use edits::{ClipMode, ClipSpec, FieldError, SourceFacts};
use media::{Assembly, AudioFrom, TimedPart, assemble_timed, copy_clip};

use super::source_frames::{self, SourceFrames, tick};
use super::{
    Joined, Prepared, Render, RenderContext, RenderError, RenderedSegment, SegmentPlan, Source, Stage, Workload,
};

/// See the [module](self).
pub struct Clip {
    spec: ClipSpec,
    source: Source,
    /// The source frames it holds.
    frames: Range<usize>,
    /// What is encoded on its own; nothing when packets are copied.
    parts: Vec<Range<usize>>,
    encoder: OnceLock<SourceFrames>,
}

impl Clip {
    /// Plans the export; `sources` holds its one video.
    pub fn new(spec: &ClipSpec, sources: Vec<Source>, segment_seconds: f64) -> Result<Self, Vec<FieldError>> {
        let source = super::only(sources)?;
        let frames = spec.range(&source.facts);
        let parts = match spec.mode {
            ClipMode::Copy => Vec::new(),
            ClipMode::Encode => source_frames::cut(&source, &frames, segment_seconds),
        };
        Ok(Self { spec: spec.clone(), source, frames, parts, encoder: OnceLock::new() })
    }

    fn encoder(&self) -> Result<&SourceFrames, RenderError> {
        self.encoder.get().ok_or_else(super::not_prepared)
    }
}

impl Render for Clip {
    fn needs_preparation(&self) -> bool {
        self.spec.mode == ClipMode::Encode
    }

    fn prepare(&self) -> Result<Prepared, RenderError> {
        Prepared::of(&SourceFrames::open(&self.source, &self.spec.output)?)
    }

    fn adopt(&self, prepared: &Prepared) -> Result<(), RenderError> {
        // A second one, prepared meanwhile, is the same.
        let _ = self.encoder.set(prepared.read()?);
        Ok(())
    }

    fn segments(&self) -> Vec<SegmentPlan> {
        source_frames::segments(&self.parts)
    }

    fn frames(&self) -> u64 {
        self.frames.len() as u64
    }

    fn workload(&self) -> Workload {
        let SourceFacts { width, height, .. } = self.source.facts;
        let encoded: usize = self.parts.iter().map(Range::len).sum();
        Workload { pixels: encoded as u64 * u64::from(width) * u64::from(height), ..Workload::default() }
    }

    fn has_audio(&self) -> bool {
        self.spec.mode == ClipMode::Encode && self.source.facts.has_audio
    }

    fn render_segment(
        &self,
        run: &RenderContext,
        segment: &SegmentPlan,
        out: &Path,
    ) -> Result<RenderedSegment, RenderError> {
        let (encoder, frames) = (self.encoder()?, self.parts[segment.index as usize].clone());
        encoder.render(run, &self.source, frames, &encoder.settings, &mut |_, _| {}, out)
    }

    fn render_audio(&self, run: &RenderContext, out: &Path) -> Result<(), RenderError> {
        source_frames::sound(run, &self.source, std::slice::from_ref(&self.frames), out)
    }

    fn join(
        &self,
        run: &RenderContext,
        segments: &[PathBuf],
        audio: Option<&Path>,
        out: &Path,
    ) -> Result<Joined, RenderError> {
        if self.spec.mode == ClipMode::Copy {
            let Source { path, index, .. } = &self.source;
            let copied = run.counters.time(Stage::Mux, || copy_clip(path, index, self.frames.clone(), out))?;
            super::warn_of_sound_left_out(run, path, false)?;
            return Ok(Joined { frames: copied.frames, seconds: copied.seconds });
        }
        let times = &self.source.facts.frames;
        let begin = tick(times, self.frames.start);
        let part = |(path, frames): (&PathBuf, &Range<usize>)| TimedPart {
            path: path.clone(),
            offset: tick(times, frames.start) - begin,
            end: tick(times, frames.end) - begin,
        };
        let parts: Vec<_> = segments.iter().zip(&self.parts).map(part).collect();
        let SourceFrames { shape, .. } = self.encoder()?;
        let assembly = Assembly {
            time_base: shape.time_base,
            rate: shape.rate,
            audio: audio.map_or(AudioFrom::None, AudioFrom::File),
            chapters: &[],
            tags_of: None,
            simulated: false,
        };
        let joined = run.counters.time(Stage::Mux, || assemble_timed(&parts, &assembly, out))?;
        super::all_there(joined.frames, self.frames())?;
        Ok(Joined { frames: joined.frames, seconds: joined.seconds })
    }
}
