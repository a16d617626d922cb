//! Persons in one frame of a video, answered at once: what a person waits for while scrubbing.
//!
//! The frame is decoded on a blocking thread and passes the same queue as batch work, ahead of it: a device takes it
//! with its next batch. What is found is stored with the video's other detections before it is answered. The device
//! time is the tenant's like any other's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use edits::{CropRect, DetectedBox, FrameDetections, RgbImage, SourceRef};
use entities::detections::NewDetection;
use entities::usage::{self, DeviceTime};
use entities::{Subject, TenantId, VideoId, tenants};
use media::{Cropper, FrameDecoder};

use crate::detections::cache::Invalidate;
use crate::exports::request;
use crate::inference::profile::ModelProfile;
use crate::inference::queue::{DeviceFault, FrameJob, Output, Served, Task, TaskKind};
use crate::node::{Node, NodeContext};
use crate::render::Source;
use crate::settings::tenant_limits::{self, LimitReached};
use crate::videos::source::{self, SourceError};

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
    /// How long the frame waited for a device.
    pub waited: Duration,
    /// Device time it took.
    pub device_seconds: f64,
}

/// The single frames that are being looked at, by tenant: each may have so many at once.
#[derive(Default)]
pub struct FramePermits(Arc<Mutex<HashMap<TenantId, u32>>>);

/// A right to look at one frame, given back when dropped.
struct FramePermit {
    counts: Arc<Mutex<HashMap<TenantId, u32>>>,
    tenant: TenantId,
}

impl FramePermits {
    /// One more of a tenant; None when it has `most` already.
    fn begin(&self, tenant: TenantId, most: u32) -> Option<FramePermit> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(tenant).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(FramePermit { counts: Arc::clone(&self.0), tenant })
    }
}

impl Drop for FramePermit {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.tenant);
            }
        }
    }
}

/// Why a frame was not searched.
#[derive(Debug, thiserror::Error)]
pub enum FrameDetectionError {
    #[error("the tenant has no such video")]
    NotFound,
    #[error("the video is not ready yet")]
    NotReady,
    #[error(transparent)]
    Source(SourceError),
    /// How many frames and seconds the video has.
    #[error("it is outside the video, which has {frames} frames and lasts {seconds:.3} s")]
    Outside { frames: usize, seconds: f64 },
    #[error(transparent)]
    Limit(#[from] LimitReached),
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

impl From<SourceError> for FrameDetectionError {
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
    /// See [`FrameDetectionError`]. Nothing is stored then.
    pub async fn detect_in_frame(
        &self,
        tenant: TenantId,
        video: VideoId,
        choice: FrameChoice,
    ) -> Result<FoundInFrame, FrameDetectionError> {
        let context = &self.context;
        let _lookup = begin(context, tenant).await?;
        let id = video.to_string();
        let source = source::open(context, tenant, SourceRef::Video(&id)).await?;
        let number = frame_number(&source, choice)?;
        let weight = tenants::get(&context.db, tenant).await?.ok_or(FrameDetectionError::NotFound)?.weight;
        let name = request::default_models(context, tenant).await?.detect;
        let (profiles, model) = (Arc::clone(&context.profiles), name.clone());
        let profile = blocking(move || profiles.of(&model)).await??;
        let (width, height, fps) = (source.facts.width, source.facts.height, source.facts.rate.as_f64());
        let time = edits::rational::to_f64(source.facts.frames.seconds(number));

        let image = Arc::new(blocking(move || picture(&source, number, (width, height))).await??);
        context.queue.weigh(tenant, weight);
        let Asked { boxes, waited, took } = ask(context, tenant, profile, image).await?;
        let device_seconds = took.device_seconds;
        let frame = FrameDetections { time, frame: number as u64, boxes };
        let subject = Subject::Video(video);
        let row = NewDetection {
            subject,
            model: name.clone(),
            frame: number as i64,
            time,
            width: width as i32,
            height: height as i32,
            boxes: serde_json::to_value(&frame.boxes)
                .map_err(|error| FrameDetectionError::Broken(error.to_string()))?,
        };
        if !usage::record_frame(&context.db, tenant, &row, &took).await? {
            return Err(FrameDetectionError::NotFound);
        }
        let forgotten = self.detections.send(Invalidate { tenant, subject }).await;
        forgotten.map_err(|error| FrameDetectionError::Broken(error.to_string()))?;
        Ok(FoundInFrame { width, height, fps, model: name, frame, waited, device_seconds })
    }
}

/// Lets one more frame of the tenant in.
async fn begin(context: &NodeContext, tenant: TenantId) -> Result<FramePermit, FrameDetectionError> {
    let everywhere = context.live.borrow().live.limits.clone();
    let most = tenant_limits::of(&context.db, &everywhere, tenant).await?.interactive_frames;
    let permit = context.frame_permits.begin(tenant, most);
    permit.ok_or_else(|| {
        FrameDetectionError::Limit(LimitReached {
            limit: "interactive_frames",
            most: most.into(),
            what: "single frames may be looked at at a time",
            retry_after: Duration::from_secs(1),
        })
    })
}

pub(crate) fn frame_number(source: &Source, choice: FrameChoice) -> Result<usize, FrameDetectionError> {
    let times = &source.facts.frames;
    let outside =
        || FrameDetectionError::Outside { frames: times.len(), seconds: edits::rational::to_f64(times.duration()) };
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

/// The whole displayed frame, of so many pixels.
pub(crate) fn picture(
    source: &Source,
    number: usize,
    (out_width, out_height): (u32, u32),
) -> Result<RgbImage, media::MediaError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_DECODE_THREADS);
    let mut decoder = FrameDecoder::open(&source.path, Arc::clone(&source.index), threads)?;
    let (width, height) = (source.facts.width, source.facts.height);
    let whole = CropRect { x: 0.0, y: 0.0, width: f64::from(width), height: f64::from(height) };
    let picture = decoder.frame(number)?;
    Ok(Cropper::new().rgb(&picture, &whole, 0.0, out_width, out_height))
}

/// One person waits: frames of one group of pictures may be decoded side by side.
const MOST_DECODE_THREADS: usize = 4;

/// What a device found in a picture, and what that took.
struct Asked {
    boxes: Vec<DetectedBox>,
    waited: Duration,
    took: DeviceTime,
}

async fn ask(
    context: &NodeContext,
    tenant: TenantId,
    profile: Arc<ModelProfile>,
    image: Arc<RgbImage>,
) -> Result<Asked, FrameDetectionError> {
    let size = (image.width, image.height);
    let estimate = context.costs.expected(TaskKind::Detect, &profile, size);
    let task = Task { kind: TaskKind::Detect, profile: Arc::clone(&profile) };
    let (job, answer) = FrameJob::interactive(tenant, task, image, estimate);
    let queued = job.queued;
    context.queue.push_interactive(job).map_err(|_| FrameDetectionError::Stopping)?;
    let served = answer.await.map_err(|_| FrameDetectionError::Stopping)??;
    let Served { output, device, device_seconds, began, .. } = served;
    context.queue.settle(tenant, estimate, device_seconds);
    context.costs.note(TaskKind::Detect, &profile, size, device_seconds);
    let Output::Boxes(boxes) = output else {
        return Err(FrameDetectionError::Broken("a detector answered with a picture".into()));
    };
    let cost = device_seconds * context.live.borrow().live.planner.price_per_device_second;
    let took = DeviceTime { device: device.to_string(), frames: 1, device_seconds, cost };
    Ok(Asked { boxes, waited: began.saturating_duration_since(queued), took })
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, FrameDetectionError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| FrameDetectionError::Broken(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_lookups_are_bounded_and_free_their_place() {
        let (frame_permits, tenant) = (FramePermits::default(), TenantId::new());
        let first = frame_permits.begin(tenant, 2);
        let second = frame_permits.begin(tenant, 2);
        assert!(first.is_some() && second.is_some() && frame_permits.begin(tenant, 2).is_none());
        assert!(frame_permits.begin(TenantId::new(), 2).is_some(), "another tenant has its own");
        drop(first);
        assert!(frame_permits.begin(tenant, 2).is_some());
    }
}
