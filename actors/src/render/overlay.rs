//! Overlay: a spotlight that follows a player, and texts, on a finished reel or a video.
//!
//! Only the stretches between IDR pictures that something is drawn in are rendered; all other packets are copied bit
//! for bit (smart render). Where a source's stream cannot be continued, everything is rendered, and the report says
//! why. With nothing to draw the file is copied.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use edits::{FieldError, OverlayPlan, OverlaySpec, SourceFacts};
use media::{
    Assembly, AudioFrom, Canvas, Painter, SmartLayout, Sprite, TextShaper, TimedPart, TimedSettings, assemble_timed,
    smart_layout, splice,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tempfile::TempPath;

use super::source_frames::{self, SourceFrames, tick};
use super::{
    Joined, Prepared, Render, RenderContext, RenderError, RenderedSegment, SegmentPlan, Source, Stage, Workload,
};

/// See the [module](self).
pub struct Overlay {
    spec: OverlaySpec,
    source: Source,
    plan: OverlayPlan,
    segment_seconds: f64,
    manner: OnceLock<Manner>,
}

/// How it is rendered, which the source's stream decides.
#[derive(Serialize, Deserialize)]
struct Manner {
    encoder: SourceFrames,
    settings: TimedSettings,
    /// The frames of each part.
    parts: Vec<Range<usize>>,
    /// Where packets are copied; else why none are.
    smart: Result<SmartLayout, String>,
}

impl Overlay {
    /// Plans the export; `sources` holds its one video or reel.
    pub fn new(spec: &OverlaySpec, sources: Vec<Source>, segment_seconds: f64) -> Result<Self, Vec<FieldError>> {
        let source = super::only(sources)?;
        let plan = OverlayPlan::new(spec, &source.facts);
        Ok(Self { spec: spec.clone(), source, plan, segment_seconds, manner: OnceLock::new() })
    }

    /// Whether nothing is asked for; something that is never visible counts as asked for.
    fn is_copy(&self) -> bool {
        self.spec.regions.is_empty() && self.spec.texts.is_empty()
    }

    fn manner(&self) -> Result<&Manner, RenderError> {
        self.manner.get().ok_or_else(super::not_prepared)
    }

    /// The main sound, encoded again beside `out`, where MP4 cannot hold the source's as it is.
    fn encoded_sound(&self, run: &RenderContext, out: &Path) -> Result<Option<TempPath>, RenderError> {
        let Source { path, facts, index, .. } = &self.source;
        if !facts.has_audio || media::sound_not_for_mp4(path, index)?.is_none() {
            return Ok(None);
        }
        // Removed when it is in the result, or of no use.
        let path = out.with_extension("sound.mp4");
        let sound = TempPath::try_from_path(&path)
            .map_err(|source| RenderError::Io { doing: format!("naming {}", path.display()), source })?;
        source_frames::sound(run, &self.source, std::slice::from_ref(&(0..self.plan.frames())), &sound)?;
        Ok(Some(sound))
    }

    fn inspect(&self) -> Result<Manner, RenderError> {
        let Source { path, index, .. } = &self.source;
        let encoder = SourceFrames::open(&self.source, &self.spec.output)?;
        let edits::Encoding { crf, preset } = &self.spec.output;
        let matched = smart_layout(path, index).and_then(|layout| Ok((layout.settings(*crf, preset)?, layout)));
        Ok(match matched {
            Ok((settings, layout)) => {
                let most = (self.segment_seconds * self.source.facts.rate.as_f64()).round().max(1.0);
                let parts = layout.parts(&self.plan.touched(), most as usize);
                Manner { encoder, settings, parts, smart: Ok(layout) }
            }
            Err(why) => {
                let parts = source_frames::cut(&self.source, &(0..self.plan.frames()), self.segment_seconds);
                Manner { settings: encoder.settings.clone(), encoder, parts, smart: Err(why) }
            }
        })
    }
}

impl Render for Overlay {
    fn needs_preparation(&self) -> bool {
        !self.is_copy()
    }

    fn prepare(&self) -> Result<Prepared, RenderError> {
        Prepared::of(&self.inspect()?)
    }

    fn adopt(&self, prepared: &Prepared) -> Result<(), RenderError> {
        let manner: Manner = prepared.read()?;
        // Each part becomes a job, so there are no more than frames, whatever the file made the process say.
        if !are_parts(&manner.parts, self.plan.frames()) {
            return Err(RenderError::Broken("the parts that were prepared are not in order".into()));
        }
        // A second one, prepared meanwhile, is the same.
        let _ = self.manner.set(manner);
        Ok(())
    }

    fn segments(&self) -> Vec<SegmentPlan> {
        self.manner.get().map_or_else(Vec::new, |manner| source_frames::segments(&manner.parts))
    }

    fn frames(&self) -> u64 {
        self.plan.frames() as u64
    }

    fn workload(&self) -> Workload {
        let SourceFacts { width, height, rate, .. } = self.source.facts;
        // Stretches grow to the IDR pictures around them, which are mostly a second or two apart.
        let grown = |frames: Range<usize>| frames.len() + 2 * rate.as_f64().ceil() as usize;
        let drawn: usize = self.plan.touched().into_iter().map(grown).sum();
        let frames = drawn.min(self.plan.frames()) as u64;
        Workload { pixels: frames * u64::from(width) * u64::from(height), ..Workload::default() }
    }

    fn render_segment(
        &self,
        run: &RenderContext,
        segment: &SegmentPlan,
        out: &Path,
    ) -> Result<RenderedSegment, RenderError> {
        let Manner { encoder, settings, parts, .. } = self.manner()?;
        let frames = parts[segment.index as usize].clone();
        let texts = Texts::new(&self.plan, encoder)?;
        let mut painter = Painter::new();
        let mut draw = |canvas: &mut Canvas, number: usize| {
            let drawn = self.plan.drawn(number);
            if let Some(spotlight) = &drawn.spotlight {
                painter.spotlight(canvas, spotlight);
            }
            drawn.texts.iter().for_each(|&text| painter.sprite(canvas, &texts.0[text]));
        };
        encoder.render(run, &self.source, frames, settings, &mut draw, out)
    }

    fn details(&self) -> Map<String, Value> {
        let rendered: usize = self.segments().iter().map(|segment| segment.frames as usize).sum();
        let why = self.manner.get().and_then(|manner| manner.smart.as_ref().err());
        let smart = json!({
            "frames_rendered": rendered,
            "frames_copied": self.plan.frames() - rendered,
            "rendered_in_full": why,
        });
        Map::from_iter([("smart_render".to_owned(), smart)])
    }

    fn join(
        &self,
        run: &RenderContext,
        segments: &[PathBuf],
        _: Option<&Path>,
        out: &Path,
    ) -> Result<Joined, RenderError> {
        let Source { path, index, facts, .. } = &self.source;
        if self.is_copy() {
            // Not `fs::copy`, which sets a mode: a render process may not.
            let copy = || io::copy(&mut File::open(path)?, &mut File::create(out)?);
            run.counters
                .time(Stage::Mux, copy)
                .map_err(|source| RenderError::Io { doing: format!("copying {}", path.display()), source })?;
            let seconds = edits::rational::to_f64(facts.frames.duration());
            return Ok(Joined { frames: self.frames(), seconds });
        }
        let Manner { encoder, parts, smart, .. } = self.manner()?;
        let encoded = self.encoded_sound(run, out)?;
        super::warn_of_sound_left_out(run, path, encoded.is_some())?;
        let joined = match smart {
            Ok(layout) => {
                let rendered: Vec<_> = parts.iter().cloned().zip(segments.iter().cloned()).collect();
                let spliced = || splice(path, index, layout, &rendered, encoded.as_deref(), out);
                let spliced = run.counters.time(Stage::Mux, spliced)?;
                Joined { frames: spliced.frames, seconds: spliced.seconds }
            }
            Err(_) => {
                let times = &facts.frames;
                let at = |frame: usize| tick(times, frame) - tick(times, 0);
                let part = |(path, frames): (&PathBuf, &Range<usize>)| TimedPart {
                    path: path.clone(),
                    offset: at(frames.start),
                    end: at(frames.end),
                };
                let parts: Vec<_> = segments.iter().zip(parts).map(part).collect();
                let audio = match &encoded {
                    Some(sound) => AudioFrom::File(sound),
                    None if facts.has_audio => AudioFrom::CopyOf { source: path, start: index.start() },
                    None => AudioFrom::None,
                };
                let assembly = Assembly {
                    time_base: encoder.shape.time_base,
                    rate: encoder.shape.rate,
                    audio,
                    chapters: &[],
                    tags_of: Some(path),
                    simulated: false,
                };
                let joined = run.counters.time(Stage::Mux, || assemble_timed(&parts, &assembly, out))?;
                Joined { frames: joined.frames, seconds: joined.seconds }
            }
        };
        super::all_there(joined.frames, self.frames())?;
        Ok(joined)
    }
}

/// The overlay's texts, ready to be blended, in the order of the plan.
struct Texts(Vec<Sprite>);

impl Texts {
    fn new(plan: &OverlayPlan, encoder: &SourceFrames) -> Result<Self, RenderError> {
        if plan.texts().is_empty() {
            return Ok(Self(Vec::new()));
        }
        let mut shaper = TextShaper::new()?;
        Ok(Self(plan.texts().iter().map(|text| shaper.text(text, encoder.canvas())).collect()))
    }
}

/// Whether these are stretches of so many frames, in order, none of them empty.
fn are_parts(parts: &[Range<usize>], frames: usize) -> bool {
    let mut end = 0;
    parts.iter().all(|part| {
        let good = part.start >= end && part.start < part.end && part.end <= frames;
        end = part.end;
        good
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_within_the_film() {
        let holds = |parts: &[(usize, usize)]| {
            let parts: Vec<Range<usize>> = parts.iter().map(|&(start, end)| start..end).collect();
            are_parts(&parts, 10)
        };
        assert!(holds(&[]) && holds(&[(0, 4), (4, 6), (8, 10)]));
        for bad in [&[(0, 11)][..], &[(4, 6), (0, 2)], &[(3, 3)], &[(0, 4), (3, 6)]] {
            assert!(!holds(bad), "{bad:?}");
        }
    }
}
