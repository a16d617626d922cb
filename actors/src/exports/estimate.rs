//! What an export will take, before anything runs.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::context::NodeContext;
use crate::inference::profile::{DeviceClass, ExportProfile, ModelProfile};
use crate::inference::queue::TaskKind;
use crate::render::{Render, Workload};

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

/// Device seconds that work is expected to take, and seconds of cores.
fn seconds_of(context: &NodeContext, work: &Workload, profile: &ExportProfile) -> (f64, f64) {
    let expected = |kind, profile: &Option<Arc<ModelProfile>>, size| {
        profile.as_ref().map_or(0.0, |profile| context.costs.expected(kind, profile, size))
    };
    let upscale =
        |(size, count): &((u32, u32), u64)| *count as f64 * expected(TaskKind::Upscale, &profile.upscale, *size);
    let upscaling: f64 = work.upscales.iter().map(upscale).fold(0.0, |sum, seconds| sum + seconds);
    let detecting = work.detections as f64 * expected(TaskKind::Detect, &profile.detect, (0, 0));
    (upscaling + detecting, work.pixels as f64 * CORE_SECONDS_PER_PIXEL)
}

/// What a frame of an export counts in the fair order of segments: device seconds, or seconds of a core where no model
/// runs.
pub fn frame_cost(context: &NodeContext, kind: &dyn Render, profile: &ExportProfile) -> f64 {
    let (device_seconds, core_seconds) = seconds_of(context, &kind.workload(), profile);
    let seconds = if device_seconds > 0.0 { device_seconds } else { core_seconds };
    seconds / kind.frames().max(1) as f64
}

/// What a planned export is expected to take in its profile.
pub fn estimate(context: &NodeContext, kind: &dyn Render, profile: &ExportProfile) -> Estimate {
    let Workload { upscales, detections, .. } = kind.workload();
    let devices = context.device_count;
    let (device_seconds, core_seconds) = seconds_of(context, &kind.workload(), profile);
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let wall_seconds = match context.profiles.class() {
        // Devices are cores, which decode and encode as well.
        DeviceClass::Cpu => (device_seconds / devices as f64).max((device_seconds + core_seconds) / cores),
        DeviceClass::Cuda | DeviceClass::Sim => (device_seconds / devices as f64).max(core_seconds / cores),
    };
    Estimate {
        frames: kind.frames(),
        frames_inferred: upscales.iter().map(|(_, count)| count).sum::<u64>() + detections,
        device_seconds,
        wall_seconds,
        cost: device_seconds * context.live.borrow().live.planner.price_per_device_second,
    }
}
