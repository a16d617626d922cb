//! Persons in one frame of a video, answered at once: what a person waits for while scrubbing.
//!
//! The frame is decoded on a blocking thread and passes the same queue as batch work, ahead of it: a device takes it
//! with its next batch. What is found is stored with the video's other detections before it is answered. The device
//! time is the tenant's like any other's.

use std::sync::Arc;

use edits::{CropRect, DetectedBox, FrameDetections, RgbImage, SourceRef};
use entities::detections::{self, NewDetection};
use entities::{Subject, TenantId, VideoId, tenants};
use media::{Cropper, FrameDecoder};

use crate::detection_cache::Invalidate;
use crate::frame_queue::{DeviceFault, FrameJob, Output, Served, Task, TaskKind};
use crate::node::{Node, Shared};
use crate::profile::ModelProfile;
use crate::render::Source;
use crate::sources::{self, SourceError};

/// Which frame of a video.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FrameChoice {
    /// The frame shown at so many source seconds.
    Time(f64),
    /// The frame of this number, from 0.
    Number(u64),
}

/// What was found in a frame, in source pixels.
#[derive(Debug)]
pub struct FoundInFrame {
    pub width: u32,
    pub height: u32,
    /// The video's frames a second.
    pub fps: f64,
    pub model: String,
    /// Every box that is stored; the reader's confidence is not applied yet.
    pub frame: FrameDetections,
}

/// Why a frame was not searched.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error("the tenant has no such video")]
    NotFound,
    #[error("the video is not ready yet")]
    NotReady,
    #[error(transparent)]
    Source(SourceError),
    /// How many frames and seconds the video has.
    #[error("it is outside the video, which has {frames} frames and lasts {seconds:.3} s")]
    Outside { frames: usize, seconds: f64 },
    #[error("the node is stopping")]
    Stopping,
    #[error(transparent)]
    Device(#[from] DeviceFault),
    #[error(transparent)]
    Media(#[from] media::MediaError),
    #[error(transparent)]
    Model(#[from] models::ModelError),
    #[error(transparent)]
    Database(#[from] entities::Error),
    #[error("looking at a frame: {0}")]
    Broken(String),
}

impl From<SourceError> for LookError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Unusable("not_ready", _) => Self::NotReady,
            SourceError::Unusable(..) => Self::NotFound,
            error => Self::Source(error),
        }
    }
}

impl Node {
    /// Looks for persons in one frame of the tenant's video, stores what is found and answers it.
    ///
    /// # Errors
    /// See [`LookError`]. Nothing is stored then.
    pub async fn detect_in_frame(
        &self,
        tenant: TenantId,
        video: VideoId,
        choice: FrameChoice,
    ) -> Result<FoundInFrame, LookError> {
        let shared = &self.shared;
        let id = video.to_string();
        let source = sources::open(shared, tenant, SourceRef::Video(&id)).await?;
        let number = frame_number(&source, choice)?;
        let weight = tenants::get(&shared.db, tenant).await?.ok_or(LookError::NotFound)?.weight;
        let name = shared.live.borrow().live.detect.model.clone();
        let (profiles, model) = (Arc::clone(&shared.profiles), name.clone());
        let profile = blocking(move || profiles.of(&model)).await??;
        let (width, height, fps) = (source.facts.width, source.facts.height, source.facts.rate.as_f64());
        let time = edits::rational::to_f64(source.facts.frames.seconds(number));

        let image = blocking(move || picture(&source, number)).await??;
        let boxes = ask(shared, tenant, weight, profile, image).await?;
        let frame = FrameDetections { time, frame: number as u64, boxes };
        let subject = Subject::Video(video);
        let row = NewDetection {
            subject,
            model: name.clone(),
            frame: number as i64,
            time,
            width: width as i32,
            height: height as i32,
            boxes: serde_json::to_value(&frame.boxes).map_err(|error| LookError::Broken(error.to_string()))?,
        };
        if !detections::put(&shared.db, tenant, &[row]).await? {
            return Err(LookError::NotFound);
        }
        let forgotten = self.detections.send(Invalidate { subject }).await;
        forgotten.map_err(|error| LookError::Broken(error.to_string()))?;
        Ok(FoundInFrame { width, height, fps, model: name, frame })
    }
}

fn frame_number(source: &Source, choice: FrameChoice) -> Result<usize, LookError> {
    let times = &source.facts.frames;
    let outside = || LookError::Outside { frames: times.len(), seconds: edits::rational::to_f64(times.duration()) };
    match choice {
        FrameChoice::Time(time) => {
            let time = edits::rational::seconds_from_f64(time);
            if time > times.duration() { Err(outside()) } else { Ok(times.at_or_before(time)) }
        }
        FrameChoice::Number(number) => {
            usize::try_from(number).ok().filter(|number| *number < times.len()).ok_or_else(outside)
        }
    }
}

/// The whole displayed frame.
fn picture(source: &Source, number: usize) -> Result<Arc<RgbImage>, media::MediaError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_DECODE_THREADS);
    let mut decoder = FrameDecoder::open(&source.path, Arc::clone(&source.index), threads)?;
    let (width, height) = (source.facts.width, source.facts.height);
    let whole = CropRect { x: 0.0, y: 0.0, width: f64::from(width), height: f64::from(height) };
    let picture = decoder.frame(number)?;
    Ok(Arc::new(Cropper::new().rgb(&picture, &whole, 0.0, width, height)))
}

/// One person waits: frames of one group of pictures may be decoded side by side.
const MOST_DECODE_THREADS: usize = 4;

async fn ask(
    shared: &Shared,
    tenant: TenantId,
    weight: f64,
    profile: Arc<ModelProfile>,
    image: Arc<RgbImage>,
) -> Result<Vec<DetectedBox>, LookError> {
    let estimate = shared.speeds.expected(TaskKind::Detect, &profile, (image.width, image.height));
    let task = Task { kind: TaskKind::Detect, profile };
    let (job, answer) = FrameJob::interactive(tenant, task, image, estimate);
    shared.queue.weigh(tenant, weight);
    shared.queue.push_interactive(job).map_err(|_| LookError::Stopping)?;
    let Served { output, device_seconds, .. } = answer.await.map_err(|_| LookError::Stopping)??;
    shared.queue.settle(tenant, estimate, device_seconds);
    match output {
        Output::Boxes(boxes) => Ok(boxes),
        Output::Image(_) => Err(LookError::Broken("a detector answered with a picture".into())),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, LookError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| LookError::Broken(error.to_string()))
}
