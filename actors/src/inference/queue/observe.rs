//! The state of the queue, for operators and as metrics.

use std::sync::Weak;
use std::time::{Duration, Instant};

use entities::TenantId;
use serde::Serialize;

use super::{FrameQueue, lock};

/// What one tenant has waiting on this node, and what it was given.
#[derive(Debug, Clone, Serialize)]
pub struct TenantQueue {
    pub tenant: TenantId,
    /// Its share of the devices relative to other tenants.
    pub weight: f64,
    /// Frames of its exports that wait for a device.
    pub frames: usize,
    /// Single frames that a user waits for.
    pub interactive: usize,
    /// How long the oldest has waited, in seconds; 0 when nothing waits.
    pub oldest_seconds: f64,
    /// Device time that its frames took on this node since it started, in seconds.
    pub device_seconds: f64,
}

impl FrameQueue {
    /// Every tenant that had a frame here since the node started, by id.
    pub fn snapshot(&self) -> Vec<TenantQueue> {
        let now = Instant::now();
        let mut shown: Vec<_> = {
            let state = lock(&self.state);
            let depths = state.waiting.depths(now);
            let show = |(tenant, weight, device_seconds)| {
                let depth = depths.get(&tenant).copied().unwrap_or_default();
                TenantQueue {
                    tenant,
                    weight,
                    frames: depth.batch,
                    interactive: depth.interactive,
                    oldest_seconds: depth.oldest.as_secs_f64(),
                    device_seconds,
                }
            };
            state.waiting.shares.balances().map(show).collect()
        };
        shown.sort_by_key(|queue| queue.tenant);
        shown
    }
}

/// How often depths and ages are recorded as metrics.
const OBSERVE_INTERVAL: Duration = Duration::from_secs(1);

/// Records depth and age of each tenant's queue as metrics, as long as the queue exists.
pub async fn observe(queue: Weak<FrameQueue>) {
    let mut ticks = tokio::time::interval(OBSERVE_INTERVAL);
    loop {
        ticks.tick().await;
        let Some(queue) = queue.upgrade() else { return };
        for shown in queue.snapshot() {
            let tenant = shown.tenant.to_string();
            let frames = (shown.frames + shown.interactive) as f64;
            metrics::gauge!("touchline_queue_frames", "tenant" => tenant.clone()).set(frames);
            metrics::gauge!("touchline_queue_oldest_seconds", "tenant" => tenant).set(shown.oldest_seconds);
        }
    }
}

/// Describes the queue's metrics.
pub fn describe() {
    use metrics::{Unit, describe_gauge, describe_histogram};
    describe_gauge!("touchline_queue_frames", Unit::Count, "Frames that wait for a device, by tenant.");
    describe_gauge!("touchline_queue_oldest_seconds", Unit::Seconds, "Age of the oldest waiting frame, by tenant.");
    describe_histogram!(
        "touchline_queue_wait_seconds",
        Unit::Seconds,
        "Time from a frame's arrival in the queue until a device began with it, by lane (batch or interactive)."
    );
    describe_gauge!(
        "touchline_tenant_device_seconds",
        Unit::Seconds,
        "Device time that a tenant's frames took on this node since it started."
    );
}
