//! Annotated: clips of one video in a row, each with its card. No device is needed.
//!
//! Clips are encoded side by side and joined by copy. One that cannot be rendered leaves an empty part and a warning:
//! it does not lose the rest. The sound is rendered when it is known which clips there are.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use edits::{AnnotatedClip, AnnotatedPlan, AnnotatedSpec, FieldError, SourceFacts};
use media::{Assembly, AudioFrom, Chapter, MediaError, Painter, TextShaper, TimedPart, assemble_timed};

use super::source_frames::{self, SourceFrames, tick};
use super::{
    Joined, Prepared, Render, RenderContext, RenderError, RenderedSegment, SegmentPlan, Source, Stage, Workload,
};

/// See the [module](self).
pub struct Annotated {
    spec: AnnotatedSpec,
    source: Source,
    /// Or why no clip is left.
    plan: Result<AnnotatedPlan, String>,
    /// The clip (an index into the plan's) and frames of each part.
    parts: Vec<(usize, Range<usize>)>,
    encoder: OnceLock<SourceFrames>,
}

impl Annotated {
    /// Plans the export; `sources` holds its one video.
    pub fn new(spec: &AnnotatedSpec, sources: Vec<Source>, segment_seconds: f64) -> Result<Self, Vec<FieldError>> {
        let source = super::only(sources)?;
        let plan = AnnotatedPlan::new(spec, &source.facts)
            .map_err(|errors| format!("no clip can be rendered: {}", super::sentence(&errors)));
        let clips = plan.as_ref().map_or(&[][..], |plan| &plan.clips);
        let parts_of = |(clip, shown): (usize, &AnnotatedClip)| {
            let parts = source_frames::cut(&source, &shown.range, segment_seconds);
            parts.into_iter().map(move |frames| (clip, frames))
        };
        let parts = clips.iter().enumerate().flat_map(parts_of).collect();
        Ok(Self { spec: spec.clone(), source, plan, parts, encoder: OnceLock::new() })
    }

    fn encoder(&self) -> Result<&SourceFrames, RenderError> {
        self.encoder.get().ok_or_else(super::not_prepared)
    }

    fn plan(&self) -> Result<&AnnotatedPlan, RenderError> {
        self.plan.as_ref().map_err(|reason| RenderError::Broken(reason.clone()))
    }

    /// The clips all of whose parts were rendered, as indices into the plan's.
    fn whole_clips(&self, run: &RenderContext, segments: &[PathBuf]) -> Result<Vec<usize>, RenderError> {
        let clips = &self.plan()?.clips;
        let mut whole: Vec<usize> = (0..clips.len()).collect();
        for ((clip, _), part) in self.parts.iter().zip(segments) {
            let bytes = fs::metadata(part)
                .map_err(|source| RenderError::Io { doing: format!("reading the size of {}", part.display()), source })?
                .len();
            if bytes == 0 && whole.contains(clip) {
                whole.retain(|other| other != clip);
                run.counters.warn(format!("clip {} left out: its frames could not be decoded", clips[*clip].number));
            }
        }
        if whole.is_empty() {
            return Err(RenderError::Broken("no clip could be rendered: none of their frames can be decoded".into()));
        }
        Ok(whole)
    }
}

impl Render for Annotated {
    fn needs_preparation(&self) -> bool {
        true
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
        let frames: Vec<_> = self.parts.iter().map(|(_, frames)| frames.clone()).collect();
        source_frames::segments(&frames)
    }

    fn frames(&self) -> u64 {
        self.plan.as_ref().map_or(0, |plan| plan.frames() as u64)
    }

    fn warnings(&self) -> Vec<String> {
        self.plan.as_ref().map_or_else(|_| Vec::new(), |plan| plan.warnings.clone())
    }

    fn hopeless(&self) -> Option<String> {
        self.plan.as_ref().err().cloned()
    }

    fn workload(&self) -> Workload {
        let SourceFacts { width, height, .. } = self.source.facts;
        Workload { pixels: self.frames() * u64::from(width) * u64::from(height), ..Workload::default() }
    }

    fn render_segment(
        &self,
        run: &RenderContext,
        segment: &SegmentPlan,
        out: &Path,
    ) -> Result<RenderedSegment, RenderError> {
        let encoder = self.encoder()?;
        let (clip, frames) = &self.parts[segment.index as usize];
        let card = TextShaper::new()?.card(&self.plan()?.clips[*clip].card, encoder.canvas());
        let mut painter = Painter::new();
        let mut draw = |canvas: &mut media::Canvas, _: usize| painter.sprite(canvas, &card);
        match encoder.render(run, &self.source, frames.clone(), &encoder.settings, &mut draw, out) {
            Err(RenderError::Media(error @ (MediaError::Refused { .. } | MediaError::Codec { .. }))) => {
                tracing::warn!(%error, clip, "a clip cannot be rendered");
                fs::write(out, [])
                    .map_err(|source| RenderError::Io { doing: "writing an empty part".into(), source })?;
                Ok(RenderedSegment::default())
            }
            rendered => rendered,
        }
    }

    fn join(
        &self,
        run: &RenderContext,
        segments: &[PathBuf],
        _: Option<&Path>,
        out: &Path,
    ) -> Result<Joined, RenderError> {
        let (encoder, plan) = (self.encoder()?, self.plan()?);
        let times = &self.source.facts.frames;
        let whole = self.whole_clips(run, segments)?;
        let mut parts = Vec::new();
        let mut chapters = Vec::new();
        let mut begin = 0;
        for &clip in &whole {
            let AnnotatedClip { range, card, .. } = &plan.clips[clip];
            let first = tick(times, range.start);
            for ((_, frames), path) in self.parts.iter().zip(segments).filter(|((of, _), _)| *of == clip) {
                let at = |frame| begin + tick(times, frame) - first;
                parts.push(TimedPart { path: path.clone(), offset: at(frames.start), end: at(frames.end) });
            }
            let end = begin + tick(times, range.end) - first;
            let seconds = |ticks: i64| edits::Rat::from(i128::from(ticks)) * times.time_base();
            chapters.push(Chapter { name: card.title.text.clone(), start: seconds(begin), end: seconds(end) });
            begin = end;
        }
        let sound = out.with_extension("sound.mp4");
        if self.source.facts.has_audio {
            let stretches: Vec<_> = whole.iter().map(|clip| plan.clips[*clip].range.clone()).collect();
            source_frames::sound(run, &self.source, &stretches, &sound)?;
        }
        let assembly = Assembly {
            time_base: encoder.shape.time_base,
            rate: encoder.shape.rate,
            audio: if self.source.facts.has_audio { AudioFrom::File(&sound) } else { AudioFrom::None },
            chapters: if chapters.len() > 1 { &chapters } else { &[] },
            tags_of: None,
            simulated: false,
        };
        let joined = run.counters.time(Stage::Mux, || assemble_timed(&parts, &assembly, out));
        if self.source.facts.has_audio {
            // It is in the result now, or of no use.
            let _ = fs::remove_file(&sound);
        }
        let joined = joined?;
        let planned: usize = whole.iter().map(|clip| plan.clips[*clip].range.len()).sum();
        super::all_there(joined.frames, planned as u64)?;
        Ok(Joined { frames: joined.frames, seconds: joined.seconds })
    }
}
