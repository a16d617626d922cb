//! Persons in one frame of a video, answered at once: what a user waits for while scrubbing.
//!
//! The frame is decoded on a blocking thread and passes the same queue as batch work, ahead of its tenant's batches: a
//! device takes it with its next batch. Its boxes are stored with the video's other detections before they are answered.
//! The device time is charged to the tenant like any other.

use std::sync::Arc;
use std::time::Duration;

use edits::{DetectedBox, FrameDetections, RgbImage, SourceRef};
use entities::detections::NewDetection;
use entities::usage::{self, DeviceTime};
use entities::{Subject, TenantId, VideoId, tenants};

use super::decode_gate::DecodeGate;
use super::error::FrameDetectionError;
use super::frame::{self, FrameChoice};
use super::frame_permits::{FramePermit, FramePermits};
use crate::context::NodeContext;
use crate::detections::cache::{Change, Invalidate};
use crate::inference::profile::ModelProfile;
use crate::inference::queue::{Held, Output, Served, TaskKind};
use crate::settings::default_models;
use crate::settings::tenant_limits::{self, LimitReached};
use crate::sources;

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

/// Detects persons in one frame of the tenant's video and stores them.
pub(super) async fn detect(
    context: &NodeContext,
    (permits, decoding): (&FramePermits, &DecodeGate),
    (tenant, video): (TenantId, VideoId),
    choice: FrameChoice,
) -> Result<FoundInFrame, FrameDetectionError> {
    let permit = Arc::new(permit(context, permits, tenant).await?);
    let id = video.to_string();
    let source = sources::open(context, tenant, SourceRef::Video(&id)).await?;
    let number = frame::number(&source, choice)?;
    let weight = tenants::get(&context.db, tenant).await?.ok_or(FrameDetectionError::NotFound)?.weight;
    let live = context.live.borrow().live.clone();
    let name = default_models::of(&context.db, &live, tenant).await?.detect;
    let profile = context.profiles.of(&name).await?;
    let (width, height, fps) = (source.facts.width, source.facts.height, source.facts.rate.as_f64());
    let time = edits::rational::to_f64(source.facts.frames.seconds(number));

    // A request that is given up ends the process that works for it.
    let turn = decoding.enter(tenant).await.map_err(|_| FrameDetectionError::Stopping)?;
    let image = Arc::new(context.processes.picture(frame::picture(&source, number, (width, height))).await?);
    drop(turn);
    context.queue.weigh(tenant, weight);
    let Inferred { boxes, waited, took } = infer(context, (tenant, &permit), profile, image).await?;
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
        boxes: serde_json::to_value(&frame.boxes).map_err(|error| FrameDetectionError::Broken(error.to_string()))?,
    };
    if !usage::record_frame(&context.db, tenant, &row, &took).await? {
        return Err(FrameDetectionError::NotFound);
    }
    let invalidated = context.detections.send(Invalidate { tenant, subject, change: Change::Changed }).await;
    invalidated.map_err(|error| FrameDetectionError::Broken(error.to_string()))?;
    Ok(FoundInFrame { width, height, fps, model: name, frame, waited, device_seconds })
}

/// Admits one more frame of the tenant.
async fn permit(
    context: &NodeContext,
    permits: &FramePermits,
    tenant: TenantId,
) -> Result<FramePermit, FrameDetectionError> {
    let everywhere = context.live.borrow().live.limits.clone();
    let most = tenant_limits::of(&context.db, &everywhere, tenant).await?.interactive_frames;
    permits.acquire(tenant, most).ok_or_else(|| {
        FrameDetectionError::Limit(LimitReached {
            limit: "interactive_frames",
            most: most.into(),
            what: "single frames may be in detection at the same time",
            retry_after: Duration::from_secs(1),
        })
    })
}

/// What a device found in a picture, and what that took.
struct Inferred {
    boxes: Vec<DetectedBox>,
    waited: Duration,
    took: DeviceTime,
}

async fn infer(
    context: &NodeContext,
    (tenant, permit): (TenantId, &Arc<FramePermit>),
    profile: Arc<ModelProfile>,
    image: Arc<RgbImage>,
) -> Result<Inferred, FrameDetectionError> {
    let client = context.inference();
    // Dropped after the frame's receiver, when the request is given up.
    let _cleared = context.queue.cleared_at_end();
    let submitted = client
        .submit_interactive(tenant, TaskKind::Detect, &profile, image, Arc::clone(permit) as Held)
        .map_err(|_| FrameDetectionError::Stopping)?;
    let at = submitted.at;
    let Served { output, device, device_seconds, began, .. } = client.answer(submitted).await?;
    let Output::Boxes(boxes) = output else {
        return Err(FrameDetectionError::Broken("a detector answered with a picture".into()));
    };
    let cost = device_seconds * context.live.borrow().live.planner.price_per_device_second;
    let took = DeviceTime { device: device.to_string(), frames: 1, device_seconds, cost };
    Ok(Inferred { boxes, waited: began.saturating_duration_since(at), took })
}
