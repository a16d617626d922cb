//! Rendering: one export kind a file, behind [`ExportKind`]. The only room that uses both media and models.
//!
//! A kind defines how its export is cut into segments, renders one segment on the calling thread, and joins what was
//! rendered. Jobs, rows and storage are not its concern: the [export actor](crate::exports::coordinator) and the
//! [dispatcher](crate::exports::dispatcher) handle them.

mod annotated;
mod clip;
mod detection;
mod framing;
mod meter;
mod overlay;
mod source_frames;
mod stop;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edits::{ExportSpec, FieldError, FrameDetections, RgbImage, SourceFacts};
use entities::{ExportId, Subject, TenantId};
use media::{FrameIndex, MediaError};
use tracing::trace_span;

pub use meter::{DeviceUse, Meter, Stage, Stages};
pub use stop::{StopReason, StopSignal};

use crate::inference::client::{InferenceClient, InferenceError, Submitted};
use crate::inference::profile::{ExportProfile, ModelProfile};
use crate::inference::queue::{DeviceFault, PushError, Served, TaskKind};
use crate::storage::StorageError;
use crate::threads::ThreadError;

/// A source of an export, ready to be decoded.
#[derive(Clone)]
pub struct Source {
    /// Whose pictures these are.
    pub subject: Subject,
    pub path: PathBuf,
    pub index: Arc<FrameIndex>,
    pub facts: SourceFacts,
}

/// What rendering needs of the node and of the export it works for.
pub struct RenderContext {
    pub tenant: TenantId,
    pub export: ExportId,
    pub profile: ExportProfile,
    pub inference: InferenceClient,
    /// Frames of one segment that may be on their way through the devices.
    pub window: usize,
    pub meter: Meter,
    pub stop: Arc<StopSignal>,
}

/// A part of an export that is rendered, stored and retried on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentPlan {
    pub index: u32,
    pub first_frame: u64,
    pub frames: u64,
}

/// What rendering a segment gave, beside its file.
#[derive(Debug, Default)]
pub struct RenderedSegment {
    pub frames: u64,
    pub frames_inferred: u64,
    pub device_seconds: f64,
    /// Frames inferred and device seconds, by device.
    pub devices: BTreeMap<Arc<str>, (u64, f64)>,
    pub detections: Vec<FoundFrame>,
}

impl RenderedSegment {
    /// Counts a served frame.
    fn served(&mut self, served: &Served) {
        self.device_seconds += served.device_seconds;
        let (frames, seconds) = self.devices.entry(Arc::clone(&served.device)).or_default();
        *frames += 1;
        *seconds += served.device_seconds;
    }
}

/// Detections of one frame, in the pixels of their subject.
#[derive(Debug, Clone)]
pub struct FoundFrame {
    pub subject: Subject,
    pub model: String,
    pub width: u32,
    pub height: u32,
    pub found: FrameDetections,
}

/// How much there is to do for an export.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Workload {
    /// Output pixels to be decoded, drawn and encoded.
    pub pixels: u64,
    /// Pictures to be upscaled, by the size they are fed at.
    pub upscales: Vec<((u32, u32), u64)>,
    /// Pictures to be searched for persons.
    pub detections: u64,
}

/// A joined result.
#[derive(Debug, Clone, Copy)]
pub struct Joined {
    pub frames: u64,
    pub seconds: f64,
}

/// Why rendering ended early.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    #[error("stopped")]
    Stopped(StopReason),
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error("{0}")]
    Device(DeviceFault),
    #[error("{doing}: {source}")]
    Io { doing: String, source: std::io::Error },
    #[error(transparent)]
    Thread(#[from] ThreadError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Database(#[from] entities::Error),
    #[error("{0}")]
    Broken(String),
}

/// One export to render.
pub trait ExportKind: Send + Sync {
    /// Reads what its segments depend on from the sources. Blocks; comes before anything that renders, cuts or joins,
    /// and may come more than once.
    fn prepare(&self) -> Result<(), RenderError> {
        Ok(())
    }

    /// The parts it is cut into; the same at every call.
    fn segments(&self) -> Vec<SegmentPlan>;

    /// Output frames of the whole.
    fn frames(&self) -> u64;

    /// How much there is to do, as far as that is known before the sources are read.
    fn workload(&self) -> Workload;

    /// What the user should know before anything is rendered, such as clips that were left out.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Why nothing of it can be rendered; the export fails with this reason.
    fn hopeless(&self) -> Option<String> {
        None
    }

    /// Whose detections the export makes.
    fn subjects(&self, _: ExportId) -> Vec<Subject> {
        Vec::new()
    }

    /// Whether there is sound to render as a part of its own. Without, what is joined brings its sound along.
    fn has_audio(&self) -> bool {
        false
    }

    /// Renders one part into `out`. Blocks; leaves no file when it fails.
    fn render_segment(
        &self,
        run: &RenderContext,
        segment: &SegmentPlan,
        out: &Path,
    ) -> Result<RenderedSegment, RenderError>;

    /// Renders the sound of the whole into `out`, where [`ExportKind::has_audio`]. Blocks; leaves no file when it
    /// fails.
    fn render_audio(&self, _: &RenderContext, _: &Path) -> Result<(), RenderError> {
        Err(RenderError::Broken("this export has no sound of its own".into()))
    }

    /// Fields of its report beside those of every report, once it is joined.
    fn details(&self) -> serde_json::Map<String, serde_json::Value> {
        serde_json::Map::new()
    }

    /// Joins the parts, in order, and the sound into `out`.
    fn join(
        &self,
        run: &RenderContext,
        segments: &[PathBuf],
        audio: Option<&Path>,
        out: &Path,
    ) -> Result<Joined, RenderError>;
}

/// Plans an accepted export: the only place in this module where kinds are listed.
pub fn plan(
    spec: &ExportSpec,
    sources: Vec<Source>,
    profile: &ExportProfile,
    segment_seconds: f64,
) -> Result<Arc<dyn ExportKind>, Vec<FieldError>> {
    Ok(match spec {
        ExportSpec::Framing(spec) => Arc::new(framing::Framing::new(spec, sources, profile, segment_seconds)?),
        ExportSpec::Detection(spec) => Arc::new(detection::Detection::new(spec, sources)?),
        ExportSpec::Overlay(spec) => Arc::new(overlay::Overlay::new(spec, sources, segment_seconds)?),
        ExportSpec::Annotated(spec) => Arc::new(annotated::Annotated::new(spec, sources, segment_seconds)?),
        ExportSpec::Clip(spec) => Arc::new(clip::Clip::new(spec, sources, segment_seconds)?),
    })
}

/// The source of a kind that has one.
fn only(sources: Vec<Source>) -> Result<Source, Vec<FieldError>> {
    let source = sources.into_iter().next();
    source.ok_or_else(|| vec![FieldError::new("", "unknown_video", "there is no such source")])
}

/// Checks that a joined file has the frames that were planned.
fn all_there(joined: u64, planned: u64) -> Result<(), RenderError> {
    if joined == planned {
        return Ok(());
    }
    Err(RenderError::Broken(format!("the joined file has {joined} frames where {planned} were planned")))
}

impl RenderContext {
    /// Submits a picture to the devices; blocks while the tenant's share of the queue is full.
    fn submit(
        &self,
        kind: TaskKind,
        profile: &Arc<ModelProfile>,
        image: Arc<RgbImage>,
    ) -> Result<Submitted, RenderError> {
        let whose = (self.tenant, self.export);
        let submit = || self.inference.submit(whose, kind, profile, image, &|| self.stop.is_raised());
        trace_span!("queue").in_scope(submit).map_err(|error| match error {
            PushError::Closed => RenderError::Stopped(StopReason::NodeStops),
            PushError::Cancelled => self.stopped(),
        })
    }

    /// Blocks until a device has answered, and counts the answer.
    fn answer(&self, submitted: Submitted) -> Result<Served, RenderError> {
        let answer = self.inference.answer(submitted);
        match trace_span!("wait").in_scope(|| self.stop.wait_for(answer)) {
            Some(Ok(served)) => {
                self.meter.served(&served);
                Ok(served)
            }
            Some(Err(InferenceError::Device(fault))) => Err(RenderError::Device(fault)),
            Some(Err(InferenceError::Stopping)) => Err(RenderError::Stopped(StopReason::NodeStops)),
            None => Err(self.stopped()),
        }
    }

    fn stopped(&self) -> RenderError {
        RenderError::Stopped(self.stop.reason().unwrap_or(StopReason::NodeStops))
    }
}
