//! Rendering: one export kind a file, behind [`Render`]. The only module that uses both media and models.
//!
//! A kind defines how its export is cut into segments, renders one segment on the calling thread, and joins what was
//! rendered. Jobs, rows and storage are not its concern: the [export actor](crate::exports::coordinator) and the
//! [dispatcher](crate::exports::dispatcher) handle them.
//!
//! An export is planned by the node, which opens no file for that. What reads a source or a part ([`Render::prepare`],
//! [`Render::render_segment`], [`Render::render_audio`], [`Render::join`]) runs in a [render process](crate::processes),
//! which plans the same export again and ends with its task.

mod annotated;
mod clip;
mod counters;
mod detection;
mod devices;
mod framing;
mod meter;
mod overlay;
mod source_frames;
mod stage;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use edits::{ExportSpec, FieldError, FrameDetections, RgbImage, SourceFacts};
use entities::{ExportId, Subject};
use media::{FrameDecoder, FrameIndex, MediaError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use counters::{Advance, Counters, Notes};
pub use devices::{Devices, NoDevices, Pending};
pub use meter::{DeviceUse, Meter, Stages, TaskMeter};
pub use stage::{Slice, Stage};

use crate::inference::profile::ExportProfile;
use crate::inference::queue::{DeviceFault, Output, TaskKind};

/// A source of an export, ready to be decoded.
#[derive(Clone)]
pub struct Source {
    /// Whose pictures these are.
    pub subject: Subject,
    pub path: PathBuf,
    pub index: Arc<FrameIndex>,
    pub facts: SourceFacts,
}

/// What a task needs beside its plan.
pub struct RenderContext {
    pub profile: ExportProfile,
    pub devices: Box<dyn Devices>,
    /// Frames of one segment that may be on their way through the devices.
    pub window: usize,
    pub counters: Arc<Counters>,
}

/// A part of an export that is rendered, stored and retried on its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentPlan {
    pub index: u32,
    pub first_frame: u64,
    pub frames: u64,
}

/// What rendering a segment gave, beside its file.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct RenderedSegment {
    pub frames: u64,
    pub frames_inferred: u64,
    /// In the pixels of what [`Render::detected`] names. Too many for a message: attached to it.
    #[serde(skip)]
    pub detections: Vec<FrameDetections>,
}

/// Whose detections an export makes, and the size of the pictures that are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detected {
    pub subject: Subject,
    pub width: u32,
    pub height: u32,
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
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Joined {
    pub frames: u64,
    pub seconds: f64,
}

/// What [`Render::prepare`] found, for [`Render::adopt`]. Empty for a kind that needs nothing of its sources beforehand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared(Vec<u8>);

impl Prepared {
    /// Whether it can be about so many frames, and packets that an edit list hides: it is kept as long as its export runs.
    pub fn is_plausible(&self, frames: u64) -> bool {
        self.0.len() as u64 <= frames.saturating_mul(64).saturating_add(32 << 20)
    }

    /// What was found, as it is sent.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// What another process has found.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    fn of(found: &impl Serialize) -> Result<Self, RenderError> {
        let broken = |error: postcard::Error| RenderError::Broken(format!("what was prepared: {error}"));
        postcard::to_allocvec(found).map(Self).map_err(broken)
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, RenderError> {
        let broken = |error: postcard::Error| RenderError::Broken(format!("reading what was prepared: {error}"));
        postcard::from_bytes(&self.0).map_err(broken)
    }
}

/// Why rendering ended early. It can cross from one process to another.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum RenderError {
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error("{0}")]
    Device(DeviceFault),
    #[error("{doing}: {source}")]
    Io {
        doing: String,
        #[serde(with = "media::io_error")]
        source: std::io::Error,
    },
    #[error("{0}")]
    Broken(String),
}

/// How an export of one kind is rendered: what a kind implements.
pub trait Render: Send + Sync {
    /// Whether its segments depend on what only the sources' files tell: then [`Render::prepare`] comes before anything
    /// that renders, cuts or joins.
    fn needs_preparation(&self) -> bool {
        false
    }

    /// Reads what its segments depend on from the sources. Blocks.
    fn prepare(&self) -> Result<Prepared, RenderError> {
        Ok(Prepared::default())
    }

    /// Takes over what the same export has found in [`Render::prepare`].
    fn adopt(&self, _: &Prepared) -> Result<(), RenderError> {
        Ok(())
    }

    /// The parts it is cut into; the same at every call.
    fn segments(&self) -> Vec<SegmentPlan>;

    /// Output frames of the whole.
    fn frames(&self) -> u64;

    /// Output frames that no part has: joining copies them from the source.
    fn frames_copied(&self) -> u64 {
        let rendered: u64 = self.segments().iter().map(|segment| segment.frames).sum();
        self.frames().saturating_sub(rendered)
    }

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

    /// Whose detections the export makes, if any.
    fn detected(&self, _: ExportId) -> Option<Detected> {
        None
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

    /// Renders the sound of the whole into `out`, where [`Render::has_audio`]. Blocks; leaves no file when it
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
) -> Result<Arc<dyn Render>, Vec<FieldError>> {
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

/// Warns of tracks that do not go with the pictures into an MP4 file.
fn warn_of_sound_left_out(run: &RenderContext, source: &Path, encoded: bool) -> Result<(), RenderError> {
    media::sound_left_out(source, encoded)?.into_iter().for_each(|warning| run.counters.warn(warning));
    Ok(())
}

/// Checks that a joined file has the frames that were planned.
fn all_there(joined: u64, planned: u64) -> Result<(), RenderError> {
    if joined == planned {
        return Ok(());
    }
    Err(RenderError::Broken(format!("the joined file has {joined} frames where {planned} were planned")))
}

/// Why an export cannot be planned, as one sentence.
pub fn sentence(errors: &[FieldError]) -> String {
    let details: Vec<_> = errors.iter().map(|error| format!("{}: {}", error.pointer, error.detail)).collect();
    details.join("; ")
}

/// An error that something was not prepared: a mistake of the program.
fn not_prepared() -> RenderError {
    RenderError::Broken("the export was not prepared".into())
}

impl RenderContext {
    /// Sends a picture to the devices. Blocks while as many are under way as may be.
    fn submit(&self, kind: TaskKind, image: Arc<RgbImage>) -> Result<Pending, RenderError> {
        Slice::Queue.span().in_scope(|| self.devices.submit(kind, image))
    }

    /// Blocks until a device has answered.
    fn answer(&self, pending: Pending) -> Result<Output, RenderError> {
        let answer = Slice::Wait.span().in_scope(|| pending.wait())?;
        self.counters.beat();
        Ok(answer)
    }

    /// Opens a source to decode frames of it, with `threads` of the decoder's own. Every packet shows that work advances:
    /// of a file with one key frame, the first frame of a part needs all that lies before it.
    fn decoder(&self, source: &Source, threads: usize) -> Result<FrameDecoder, RenderError> {
        let decoder = FrameDecoder::open(&source.path, Arc::clone(&source.index), threads)?;
        let counters = Arc::clone(&self.counters);
        Ok(decoder.on_packet(move || counters.beat()))
    }

    /// Shows that work advances, for functions that ask at every packet whether they are to stop: a task is never asked
    /// to, it is killed.
    fn beats(&self) -> impl Fn() -> bool + use<'_> {
        || {
            self.counters.beat();
            false
        }
    }
}
