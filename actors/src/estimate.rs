//! What an export will take, before anything runs.

use std::sync::Arc;

use edits::FieldError;
use serde::Serialize;
use utoipa::ToSchema;

use crate::accept::{self, AcceptError, Examined, NewRequest};
use crate::frame_queue::TaskKind;
use crate::node::{Node, Shared};
use crate::profile::{DeviceClass, ModelProfile};
use crate::render::Work;

/// Seconds of one core to decode and encode a pixel (H.264, preset `fast`; `touchline bench` measures it).
const CORE_SECONDS_PER_PIXEL: f64 = 2.5e-8;

/// What an export is expected to take on this node while nothing else runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Estimate {
    /// Output frames.
    pub frames: u64,
    /// Pictures that run through a model.
    pub frames_inferred: u64,
    /// Time of devices, in seconds.
    pub device_seconds: f64,
    /// From start to finish, in seconds.
    pub wall_seconds: f64,
    /// Price of the device time.
    pub cost: f64,
}

impl Node {
    /// Estimates a request as if it were accepted now; nothing is stored.
    ///
    /// # Errors
    /// [`AcceptError::Invalid`] as for an export.
    pub async fn estimate(&self, request: NewRequest) -> Result<Estimate, AcceptError> {
        let examined = accept::examine(&self.shared, request).await?;
        if let Some(reason) = examined.kind.hopeless() {
            return Err(AcceptError::Invalid(vec![FieldError::new("", "nothing_to_render", reason)]));
        }
        Ok(estimate(&self.shared, &examined, self.device_count()))
    }
}

fn estimate(shared: &Shared, examined: &Examined, devices: usize) -> Estimate {
    let Work { pixels, upscales, looks } = examined.kind.work();
    let expected = |kind, profile: &Option<Arc<ModelProfile>>, size| {
        profile.as_ref().map_or(0.0, |profile| shared.speeds.expected(kind, profile, size))
    };
    let upscaling = upscales
        .iter()
        .map(|(size, count)| *count as f64 * expected(TaskKind::Upscale, &examined.profile.upscale, *size));
    let looking = looks as f64 * expected(TaskKind::Detect, &examined.profile.detect, (0, 0));
    let device_seconds = upscaling.sum::<f64>() + looking;
    let core_seconds = pixels as f64 * CORE_SECONDS_PER_PIXEL;
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let wall_seconds = match shared.profiles.class() {
        // Devices are cores, which decode and encode as well.
        DeviceClass::Cpu => (device_seconds / devices as f64).max((device_seconds + core_seconds) / cores),
        DeviceClass::Cuda | DeviceClass::Sim => (device_seconds / devices as f64).max(core_seconds / cores),
    };
    Estimate {
        frames: examined.kind.frames(),
        frames_inferred: upscales.iter().map(|(_, count)| count).sum::<u64>() + looks,
        device_seconds,
        wall_seconds,
        cost: device_seconds * shared.live.borrow().live.planner.price_per_device_second,
    }
}
