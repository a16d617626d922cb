//! Framing: a crop that follows, super-resolution, clips joined by cuts, fades or dissolves.
//!
//! A segment is walked by two threads. The `decode` thread picks each output frame's source frame, crops it and
//! sends it to the devices; the calling thread takes the answers in order, finishes and encodes them. Frames that
//! show the same source frame share one inference. The frames to look for players in are taken from the same walk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use edits::{DetectRule, FieldError, FrameComposition, FrameDetections, FramingPlan, FramingSpec, RgbImage, Shown};
use entities::{ExportId, Subject};
use media::{AudioSource, Chapter, Cropper, Finisher, FrameDecoder, Picture, SegmentEncoder, VideoSettings, YuvFrame};

use super::{
    Detected, Joined, Pending, Render, RenderContext, RenderError, RenderedSegment, SegmentPlan, Source, Stage,
    Workload,
};
use crate::inference::profile::{DeviceClass, ExportProfile};
use crate::inference::queue::{Output, TaskKind};

/// See the [module](self).
pub struct Framing {
    plan: FramingPlan,
    /// One per clip.
    sources: Vec<Source>,
    settings: VideoSettings,
    segments: Vec<SegmentPlan>,
    detect_at: Vec<u64>,
    fidelity: f32,
    simulated: bool,
}

/// An output frame on its way from the decode thread to the encoder.
struct Step {
    base: Part,
    /// Brightness of `base`: 1 unchanged, 0 black.
    level: f64,
    /// In a dissolve the incoming clip and its weight.
    incoming: Option<(Part, f64)>,
}

/// One clip's share of an output frame.
struct Part {
    clip: usize,
    take: Take,
}

/// Where a clip's picture comes from.
enum Take {
    /// The one it had in the output frame before.
    Repeat,
    /// No model is needed.
    Ready(YuvFrame),
    /// A device will answer; `crop` is what was filmed, at its native size.
    Upscaled { answer: Pending, crop: Arc<RgbImage> },
}

impl Framing {
    /// Plans the export; `sources` are one per clip.
    pub fn new(
        spec: &FramingSpec,
        sources: Vec<Source>,
        profile: &ExportProfile,
        segment_seconds: f64,
    ) -> Result<Self, Vec<FieldError>> {
        let facts: Vec<_> = sources.iter().map(|source| source.facts.clone()).collect();
        let plan = FramingPlan::new(spec, &facts, profile.quality)?;
        let shape = &plan.output;
        let settings = VideoSettings {
            width: shape.width,
            height: shape.height,
            rate: shape.rate,
            gop: shape.gop,
            crf: spec.output.crf,
            preset: spec.output.preset.clone(),
        };
        let cuts = plan.segments(segment_seconds).into_iter().zip(0..);
        let segments = cuts
            .map(|(cut, index)| SegmentPlan { index, first_frame: cut.start, frames: cut.end - cut.start })
            .collect();
        let detect_at = if spec.detect.rule == DetectRule::None { Vec::new() } else { plan.detection_frames() };
        let simulated = profile.upscale.as_ref().is_some_and(|model| model.class == DeviceClass::Sim);
        Ok(Self { plan, sources, settings, segments, detect_at, fidelity: spec.upscale.fidelity as f32, simulated })
    }

    /// The decode thread: every source frame once, in order.
    fn walk(&self, run: &RenderContext, segment: &SegmentPlan, steps: &SyncSender<Step>) -> Result<(), RenderError> {
        let mut walk = Walk { framing: self, run, cropper: Cropper::new(), open: Vec::new() };
        for n in segment.first_frame..segment.first_frame + segment.frames {
            let FrameComposition { base, level, incoming } = self.plan.composition(n);
            walk.close_all_but(&[Some(base.clip), incoming.map(|(incoming, _)| incoming.clip)]);
            let base = walk.part(&base)?;
            let incoming = incoming.map(|(shown, weight)| Ok::<_, RenderError>((walk.part(&shown)?, weight)));
            let incoming = incoming.transpose()?;
            if steps.send(Step { base, level, incoming }).is_err() {
                // The encoding side has failed and says why.
                return Ok(());
            }
        }
        walk.close_all_but(&[]);
        Ok(())
    }

    /// The encoding side: answers in order, finished, looked at where the rule says, encoded.
    fn encode(
        &self,
        run: &RenderContext,
        segment: &SegmentPlan,
        steps: Receiver<Step>,
        out: &Path,
    ) -> Result<RenderedSegment, RenderError> {
        let mut encoder = SegmentEncoder::create(out, &self.settings)?;
        let mut finish = Finish { framing: self, run, finisher: Finisher::new(), latest: Vec::new() };
        let mut done = RenderedSegment::default();
        let mut searched = Vec::new();
        for (n, step) in (segment.first_frame..).zip(steps) {
            let frame = finish.frame(step, &mut done)?;
            if self.detect_at.binary_search(&n).is_ok() {
                searched.extend(self.detect(run, n, &frame)?);
            }
            run.counters.time(Stage::Encode, || encoder.push(&frame))?;
            run.counters.frame_done();
            done.frames += 1;
        }
        if done.frames < segment.frames {
            // The walk ended early, and says why; dropping the encoder removes its file.
            return Err(RenderError::Broken("the decode thread ended early".into()));
        }
        run.counters.time(Stage::Encode, || encoder.finish())?;
        self.collect(run, searched, &mut done)?;
        Ok(done)
    }

    /// Sends an output frame to be searched for players.
    fn detect(&self, run: &RenderContext, n: u64, frame: &YuvFrame) -> Result<Option<(u64, Pending)>, RenderError> {
        if run.profile.detect.is_none() {
            return Ok(None);
        }
        Ok(Some((n, run.submit(TaskKind::Detect, Arc::new(media::to_rgb(frame)))?)))
    }

    /// Waits for the detections. A detector's fault costs its frame, never the export.
    fn collect(
        &self,
        run: &RenderContext,
        searched: Vec<(u64, Pending)>,
        done: &mut RenderedSegment,
    ) -> Result<(), RenderError> {
        for (n, answer) in searched {
            match run.answer(answer) {
                Ok(Output::Boxes(boxes)) => {
                    let time = n as f64 / self.settings.rate.as_f64();
                    done.detections.push(FrameDetections { time, frame: n, boxes });
                }
                Ok(Output::Image(_)) => {}
                Err(RenderError::Device(fault)) => {
                    run.counters.warn(format!("no players could be looked for in frame {n}: {fault}"));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(())
    }
}

/// The decode thread's state: the clips that are seen now, two in a dissolve.
struct Walk<'a> {
    framing: &'a Framing,
    run: &'a RenderContext,
    cropper: Cropper,
    open: Vec<OpenClip>,
}

struct OpenClip {
    clip: usize,
    decoder: FrameDecoder,
    /// The source frame it showed last.
    latest: Option<usize>,
}

impl Walk<'_> {
    /// Closes the clips that are seen no more.
    fn close_all_but(&mut self, seen: &[Option<usize>]) {
        let Self { run, open, .. } = self;
        open.retain(|one| {
            let stays = seen.contains(&Some(one.clip));
            if !stays {
                run.counters.concealed(one.decoder.warnings());
            }
            stays
        });
    }

    fn part(&mut self, shown: &Shown) -> Result<Part, RenderError> {
        let Shown { clip, source_frame, .. } = *shown;
        let place = match self.open.iter().position(|one| one.clip == clip) {
            Some(place) => place,
            None => {
                let decoder = self.run.decoder(&self.framing.sources[clip], DECODE_THREADS)?;
                self.open.push(OpenClip { clip, decoder, latest: None });
                self.open.len() - 1
            }
        };
        let open = &mut self.open[place];
        if open.latest.replace(source_frame) == Some(source_frame) {
            return Ok(Part { clip, take: Take::Repeat });
        }
        let picture = self.run.counters.time(Stage::Decode, || open.decoder.frame(source_frame))?;
        Ok(Part { clip, take: self.take(&picture, shown)? })
    }

    fn take(&mut self, picture: &Picture, shown: &Shown) -> Result<Take, RenderError> {
        let Self { framing, run, cropper, .. } = self;
        let rotation = framing.plan.clips[shown.clip].rotation;
        let (width, height) = (framing.settings.width, framing.settings.height);
        let Some((feed_width, feed_height)) = shown.feed else {
            let crop = || cropper.yuv(picture, &shown.crop, rotation, width, height);
            return Ok(Take::Ready(run.counters.time(Stage::Transform, crop)));
        };
        let (crop, feed) = run.counters.time(Stage::Transform, || {
            let native = native_size(shown);
            let crop = Arc::new(cropper.rgb(picture, &shown.crop, rotation, native.0, native.1));
            let feed = if native == (feed_width, feed_height) {
                Arc::clone(&crop)
            } else {
                Arc::new(cropper.rgb(picture, &shown.crop, rotation, feed_width, feed_height))
            };
            (crop, feed)
        });
        Ok(Take::Upscaled { answer: run.submit(TaskKind::Upscale, feed)?, crop })
    }
}

/// The encoding side's state: each seen clip's latest picture, at output size.
struct Finish<'a> {
    framing: &'a Framing,
    run: &'a RenderContext,
    finisher: Finisher,
    latest: Vec<(usize, Arc<YuvFrame>)>,
}

impl Finish<'_> {
    /// The output frame of a step.
    fn frame(&mut self, step: Step, done: &mut RenderedSegment) -> Result<Arc<YuvFrame>, RenderError> {
        let Step { base, level, incoming } = step;
        let seen = [Some(base.clip), incoming.as_ref().map(|(part, _)| part.clip)];
        self.latest.retain(|(clip, _)| seen.contains(&Some(*clip)));
        let base = self.picture(base, done)?;
        let incoming = incoming.map(|(part, weight)| Ok::<_, RenderError>((self.picture(part, done)?, weight)));
        let incoming = incoming.transpose()?;
        let blended = self.run.counters.time(Stage::Transform, || match incoming {
            Some((incoming, weight)) => Some(media::dissolve(&base, &incoming, weight)),
            None if level < 1.0 => Some(media::fade(&base, level)),
            None => None,
        });
        Ok(blended.map_or(base, Arc::new))
    }

    fn picture(&mut self, part: Part, done: &mut RenderedSegment) -> Result<Arc<YuvFrame>, RenderError> {
        let frame = match part.take {
            Take::Repeat => {
                let latest = self.latest.iter().find(|(clip, _)| *clip == part.clip);
                let (_, frame) = latest.ok_or_else(|| RenderError::Broken("nothing to repeat".into()))?;
                return Ok(Arc::clone(frame));
            }
            Take::Ready(frame) => Arc::new(frame),
            Take::Upscaled { answer, crop } => {
                let answer = self.run.answer(answer)?;
                done.frames_inferred += 1;
                let Output::Image(model) = answer else {
                    return Err(RenderError::Broken("an upscaler answered with boxes".into()));
                };
                let Framing { settings, fidelity, .. } = self.framing;
                let (finisher, counters) = (&mut self.finisher, &self.run.counters);
                Arc::new(counters.time(Stage::Transform, || {
                    media::to_yuv(&finisher.finish(&model, &crop, settings.width, settings.height, *fidelity))
                }))
            }
        };
        self.latest.retain(|(clip, _)| *clip != part.clip);
        self.latest.push((part.clip, Arc::clone(&frame)));
        Ok(frame)
    }
}

/// The crop's own size in whole pixels.
fn native_size(shown: &Shown) -> (u32, u32) {
    let whole = |side: f64| side.round().max(1.0) as u32;
    (whole(shown.crop.width), whole(shown.crop.height))
}

/// Several segments are decoded side by side: one thread each.
const DECODE_THREADS: usize = 1;
const SAMPLE_RATE: u32 = 48_000;

impl Render for Framing {
    fn segments(&self) -> Vec<SegmentPlan> {
        self.segments.clone()
    }

    fn frames(&self) -> u64 {
        self.plan.frames
    }

    fn workload(&self) -> Workload {
        let (width, height) = (self.settings.width, self.settings.height);
        Workload {
            pixels: self.plan.frames * u64::from(width) * u64::from(height),
            upscales: self.plan.feeds(),
            detections: self.detect_at.len() as u64,
        }
    }

    fn detected(&self, export: ExportId) -> Option<Detected> {
        let VideoSettings { width, height, .. } = self.settings;
        Some(Detected { subject: Subject::Export(export), width, height })
    }

    fn has_audio(&self) -> bool {
        self.sources.iter().any(|source| source.facts.has_audio)
    }

    fn render_segment(
        &self,
        run: &RenderContext,
        segment: &SegmentPlan,
        out: &Path,
    ) -> Result<RenderedSegment, RenderError> {
        let (sender, steps) = sync_channel(run.window);
        let span = tracing::Span::current();
        let (walked, encoded) = thread::scope(|scope| {
            let walker = thread::Builder::new()
                .name(format!("decode-{}", segment.index))
                .spawn_scoped(scope, move || span.in_scope(|| self.walk(run, segment, &sender)));
            let encoded = self.encode(run, segment, steps, out);
            (walker.map(|thread| thread.join()), encoded)
        });
        match walked {
            Err(source) => Err(RenderError::Io { doing: "starting a decode thread".into(), source }),
            Ok(Err(_)) => Err(RenderError::Broken("the decode thread panicked".into())),
            // The decode thread merely ends when the encoding side fails, so its own error came first.
            Ok(Ok(Err(walk))) => Err(walk),
            Ok(Ok(Ok(()))) => encoded,
        }
    }

    fn render_audio(&self, run: &RenderContext, out: &Path) -> Result<(), RenderError> {
        let audio_of = |source: &Source| match source.facts.has_audio {
            true => AudioSource::of(&source.path, &source.index),
            false => AudioSource::silent(),
        };
        let sources: Vec<_> = self.sources.iter().map(audio_of).collect();
        let pieces = self.plan.audio(SAMPLE_RATE);
        media::render_audio(&sources, &pieces, SAMPLE_RATE, out, &run.beats())?;
        Ok(())
    }

    fn details(&self) -> serde_json::Map<String, serde_json::Value> {
        let regions = serde_json::json!(self.plan.spotlight_regions());
        serde_json::Map::from_iter([("spotlight_regions".to_owned(), regions)])
    }

    fn join(
        &self,
        run: &RenderContext,
        segments: &[PathBuf],
        audio: Option<&Path>,
        out: &Path,
    ) -> Result<Joined, RenderError> {
        let rate = self.settings.rate;
        let chapter = |chapter: edits::Chapter| Chapter {
            name: chapter.name,
            start: rate.seconds(chapter.start_frame),
            end: rate.seconds(chapter.end_frame),
        };
        let chapters: Vec<Chapter> = self.plan.chapters().into_iter().map(chapter).collect();
        let assemble = || media::assemble(segments, audio, &self.settings, &chapters, self.simulated, out);
        let joined = run.counters.time(Stage::Mux, assemble)?;
        super::all_there(joined.frames, self.plan.frames)?;
        Ok(Joined { frames: joined.frames, seconds: joined.seconds })
    }
}
