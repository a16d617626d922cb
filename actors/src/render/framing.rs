//! Framing: a crop that follows, super-resolution, cut joins.
//!
//! A segment is walked by two threads. The `decode` thread picks each output frame's source frame, crops it and
//! sends it to the devices; the calling thread takes the answers in order, finishes and encodes them. Frames that
//! show the same source frame share one inference. The frames to look for players in are taken from the same walk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use edits::{DetectRule, FieldError, FrameDetections, FramingPlan, FramingSpec, RgbImage, Shown};
use entities::{ExportId, Subject};
use media::{AudioSource, Cropper, Finisher, FrameDecoder, SegmentEncoder, VideoSettings, YuvFrame};

use super::{Answer, ExportKind, FoundFrame, Joined, RenderError, RenderedSegment, Run, SegmentPlan, Source, Stage};
use crate::frame_queue::{Output, TaskKind};
use crate::profile::{DeviceClass, ExportProfile};

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
enum Step {
    /// Shows the same source frame as the one before.
    Repeat,
    /// Needs no model.
    Ready(YuvFrame),
    /// A device will answer; `crop` is what was filmed, at its native size.
    Upscaled { answer: Answer, crop: Arc<RgbImage> },
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
    fn walk(&self, run: &Run, segment: &SegmentPlan, steps: &SyncSender<Step>) -> Result<(), RenderError> {
        let mut cropper = Cropper::new();
        let mut open: Option<(usize, FrameDecoder)> = None;
        let mut before: Option<(usize, usize)> = None;
        for n in segment.first_frame..segment.first_frame + segment.frames {
            if run.stop.is_raised() {
                return Err(run.stopped());
            }
            let shown = self.plan.shown(n);
            let step = if before == Some((shown.clip, shown.source_frame)) {
                Step::Repeat
            } else {
                before = Some((shown.clip, shown.source_frame));
                self.step(run, &mut cropper, &mut open, &shown)?
            };
            if steps.send(step).is_err() {
                // The encoding side has failed and says why.
                return Ok(());
            }
        }
        run.meter.concealed(open.map_or(0, |(_, decoder)| decoder.warnings()));
        Ok(())
    }

    fn step(
        &self,
        run: &Run,
        cropper: &mut Cropper,
        open: &mut Option<(usize, FrameDecoder)>,
        shown: &Shown,
    ) -> Result<Step, RenderError> {
        if open.as_ref().is_none_or(|(clip, _)| *clip != shown.clip) {
            run.meter.concealed(open.take().map_or(0, |(_, decoder)| decoder.warnings()));
            let source = &self.sources[shown.clip];
            *open = Some((shown.clip, FrameDecoder::open(&source.path, Arc::clone(&source.index), DECODE_THREADS)?));
        }
        let (_, decoder) = open.as_mut().expect("opened above");
        let picture = run.meter.time(Stage::Decode, || decoder.frame(shown.source_frame))?;
        let rotation = self.plan.clips[shown.clip].rotation;
        let (width, height) = (self.settings.width, self.settings.height);
        let Some((feed_width, feed_height)) = shown.feed else {
            let frame =
                run.meter.time(Stage::Transform, || cropper.yuv(&picture, &shown.crop, rotation, width, height));
            return Ok(Step::Ready(frame));
        };
        let (crop, feed) = run.meter.time(Stage::Transform, || {
            let native = native_size(shown);
            let crop = Arc::new(cropper.rgb(&picture, &shown.crop, rotation, native.0, native.1));
            let feed = if native == (feed_width, feed_height) {
                Arc::clone(&crop)
            } else {
                Arc::new(cropper.rgb(&picture, &shown.crop, rotation, feed_width, feed_height))
            };
            (crop, feed)
        });
        let profile = run.profile.upscale.as_ref();
        let profile = profile.ok_or_else(|| RenderError::Broken("the export was accepted without a model".into()))?;
        Ok(Step::Upscaled { answer: run.ask(TaskKind::Upscale, profile, feed)?, crop })
    }

    /// The encoding side: answers in order, finished, looked at where the rule says, encoded.
    fn encode(
        &self,
        run: &Run,
        segment: &SegmentPlan,
        steps: Receiver<Step>,
        out: &Path,
    ) -> Result<RenderedSegment, RenderError> {
        let (width, height) = (self.settings.width, self.settings.height);
        let mut encoder = SegmentEncoder::create(out, &self.settings)?;
        let mut finisher = Finisher::new();
        let mut done = RenderedSegment::default();
        let mut tally = run.meter.tally();
        let mut encoded = 0;
        let mut looks = Vec::new();
        let mut last: Option<Arc<YuvFrame>> = None;
        for (n, step) in (segment.first_frame..).zip(steps) {
            let frame = match step {
                Step::Repeat => last.take().ok_or_else(|| RenderError::Broken("nothing to repeat".into()))?,
                Step::Ready(frame) => Arc::new(frame),
                Step::Upscaled { answer, crop } => {
                    let served = run.answer(answer)?;
                    done.frames_inferred += 1;
                    done.device_seconds += served.device_seconds;
                    let Output::Image(model) = served.output else {
                        return Err(RenderError::Broken("an upscaler answered with boxes".into()));
                    };
                    Arc::new(run.meter.time(Stage::Transform, || {
                        media::to_yuv(&finisher.finish(&model, &crop, width, height, self.fidelity))
                    }))
                }
            };
            if self.detect_at.binary_search(&n).is_ok() {
                looks.extend(self.look(run, n, &frame)?);
            }
            run.meter.time(Stage::Encode, || encoder.push(&frame))?;
            tally.frame_done();
            encoded += 1;
            last = Some(frame);
        }
        if encoded < segment.frames {
            // The walk ended early; dropping the encoder removes its file.
            return Err(run.stopped());
        }
        run.meter.time(Stage::Encode, || encoder.finish())?;
        self.collect(run, looks, &mut done)?;
        done.frames = tally.keep();
        Ok(done)
    }

    /// Sends an output frame to be searched for players.
    fn look(&self, run: &Run, n: u64, frame: &YuvFrame) -> Result<Option<(u64, Answer)>, RenderError> {
        let Some(profile) = &run.profile.detect else { return Ok(None) };
        let image = Arc::new(media::to_rgb(frame));
        Ok(Some((n, run.ask(TaskKind::Detect, profile, image)?)))
    }

    /// Waits for the detections. A detector's fault costs its frame, never the export.
    fn collect(&self, run: &Run, looks: Vec<(u64, Answer)>, done: &mut RenderedSegment) -> Result<(), RenderError> {
        let Some(profile) = &run.profile.detect else { return Ok(()) };
        for (n, answer) in looks {
            let boxes = match run.answer(answer) {
                Ok(served) => {
                    done.device_seconds += served.device_seconds;
                    match served.output {
                        Output::Boxes(boxes) => boxes,
                        Output::Image(_) => continue,
                    }
                }
                Err(RenderError::Device(fault)) => {
                    run.meter.warn(format!("no players could be looked for in frame {n}: {fault}"));
                    continue;
                }
                Err(other) => return Err(other),
            };
            let time = n as f64 / self.settings.rate.as_f64();
            done.detections.push(FoundFrame {
                subject: Subject::Export(run.export),
                model: profile.model.clone(),
                width: self.settings.width,
                height: self.settings.height,
                found: FrameDetections { time, frame: n, boxes },
            });
        }
        Ok(())
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

impl ExportKind for Framing {
    fn segments(&self) -> Vec<SegmentPlan> {
        self.segments.clone()
    }

    fn frames(&self) -> u64 {
        self.plan.frames
    }

    fn subjects(&self, export: ExportId) -> Vec<Subject> {
        vec![Subject::Export(export)]
    }

    fn has_audio(&self) -> bool {
        self.sources.iter().any(|source| source.facts.has_audio)
    }

    fn extension(&self) -> &'static str {
        "mp4"
    }

    fn render_segment(&self, run: &Run, segment: &SegmentPlan, out: &Path) -> Result<RenderedSegment, RenderError> {
        let (sender, steps) = sync_channel(run.window);
        let (walked, encoded) = thread::scope(|scope| {
            let walker = thread::Builder::new()
                .name(format!("decode-{}", segment.index))
                .spawn_scoped(scope, move || self.walk(run, segment, &sender));
            let encoded = self.encode(run, segment, steps, out);
            (walker.map(|thread| thread.join()), encoded)
        });
        match walked {
            Err(source) => Err(RenderError::Io { doing: "starting a decode thread".into(), source }),
            Ok(Err(_)) => Err(RenderError::Broken("the decode thread panicked".into())),
            // What went wrong first is on the side that did not merely stop.
            Ok(Ok(Err(walk))) if !matches!(walk, RenderError::Stopped(_)) => Err(walk),
            Ok(Ok(_)) => encoded,
        }
    }

    fn render_audio(&self, run: &Run, out: &Path) -> Result<(), RenderError> {
        let audio_of = |source: &Source| AudioSource {
            path: source.facts.has_audio.then(|| source.path.clone()),
            start: source.index.start(),
        };
        let sources: Vec<_> = self.sources.iter().map(audio_of).collect();
        let pieces = self.plan.audio(SAMPLE_RATE);
        media::render_audio(&sources, &pieces, SAMPLE_RATE, out, &|| run.stop.is_raised())
            .map_err(|error| if run.stop.is_raised() { run.stopped() } else { error.into() })?;
        Ok(())
    }

    fn join(&self, run: &Run, segments: &[PathBuf], audio: Option<&Path>, out: &Path) -> Result<Joined, RenderError> {
        let joined = run
            .meter
            .time(Stage::Mux, || media::assemble(segments, audio, &self.settings, &[], self.simulated, out))?;
        super::all_there(joined.frames, self.plan.frames)?;
        Ok(Joined { frames: joined.frames, seconds: joined.seconds })
    }
}
