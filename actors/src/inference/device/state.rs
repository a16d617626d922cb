//! What a supervisor shows of its device: to operators, to `/readyz` and in `/metrics`.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use serde::Serialize;
use utoipa::ToSchema;

use super::health::DeviceHealth;
use crate::inference::profile::DeviceClass;

/// A device as its supervisor shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Device)]
pub struct DeviceState {
    /// `cpu:0`, `cuda:1`, `sim:3`.
    #[schema(value_type = String)]
    pub id: Arc<str>,
    pub class: DeviceClass,
    pub health: DeviceHealth,
    /// Since when it has this health.
    pub since: DateTime<Utc>,
    /// Most frames in one batch.
    pub batch: usize,
    /// Frames it works on or has prepared.
    pub in_hand: usize,
    /// Batches served.
    pub batches: u64,
    /// Frames served.
    pub frames: u64,
    /// Time its served batches took.
    pub busy_seconds: f64,
    /// Share of the last minute in which it worked, 0 to 1.
    pub busy_ratio: f64,
    /// Batches and workers that failed, stalls among them.
    pub faults: u64,
    /// Results that did not come in time.
    pub stalls: u64,
    /// Workers started after the first.
    pub restarts: u64,
    /// Whose results count: what earlier workers still say is ignored.
    pub generation: u64,
    /// Threads of earlier workers that wait for processes which cannot be killed.
    pub hung_threads: usize,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When the next worker is tried.
    pub next_try: Option<DateTime<Utc>>,
    /// Models that its worker has loaded.
    pub models: BTreeSet<String>,
}

impl DeviceState {
    /// A device whose first worker loads.
    pub(super) fn new(id: Arc<str>, class: DeviceClass, batch: usize) -> Self {
        Self {
            id,
            class,
            health: DeviceHealth::Loading,
            since: Utc::now(),
            batch,
            in_hand: 0,
            batches: 0,
            frames: 0,
            busy_seconds: 0.0,
            busy_ratio: 0.0,
            faults: 0,
            stalls: 0,
            restarts: 0,
            generation: 1,
            hung_threads: 0,
            last_error: None,
            next_try: None,
            models: BTreeSet::new(),
        }
    }

    /// Whether its first worker still loads: nothing is known about it yet.
    pub fn is_starting(&self) -> bool {
        self.health == DeviceHealth::Loading && self.restarts == 0 && self.faults == 0
    }

    /// Sets the gauges of `/metrics`.
    pub(super) fn measure(&self) {
        let device = self.id.to_string();
        for health in DeviceHealth::ALL {
            let value = if health == self.health { 1.0 } else { 0.0 };
            gauge!("touchline_device_health", "device" => device.clone(), "health" => health.name()).set(value);
        }
        gauge!("touchline_device_busy_seconds", "device" => device.clone()).set(self.busy_seconds);
        gauge!("touchline_device_busy_ratio", "device" => device.clone()).set(self.busy_ratio);
        gauge!("touchline_device_in_hand_frames", "device" => device.clone()).set(self.in_hand as f64);
        gauge!("touchline_device_hung_threads", "device" => device.clone()).set(self.hung_threads as f64);
        gauge!("touchline_device_generation", "device" => device).set(self.generation as f64);
    }

    /// Counts a served batch.
    pub(super) fn note_served(&mut self, frames: usize, seconds: f64) {
        self.batches += 1;
        self.frames += frames as u64;
        self.busy_seconds += seconds;
        let device = self.id.to_string();
        counter!("touchline_device_frames_total", "device" => device.clone()).increment(frames as u64);
        histogram!("touchline_device_batch_frames", "device" => device.clone()).record(frames as f64);
        histogram!("touchline_device_batch_seconds", "device" => device).record(seconds);
    }

    /// Counts a fault.
    pub(super) fn note_fault(&mut self, reason: &str) {
        self.faults += 1;
        self.last_error = Some(reason.to_owned());
        counter!("touchline_device_faults_total", "device" => self.id.to_string()).increment(1);
    }

    /// Counts a stall.
    pub(super) fn note_stall(&mut self) {
        self.stalls += 1;
        counter!("touchline_device_stalls_total", "device" => self.id.to_string()).increment(1);
    }

    /// Counts the start of a worker after the first.
    pub(super) fn note_restart(&mut self) {
        self.restarts += 1;
        counter!("touchline_device_restarts_total", "device" => self.id.to_string()).increment(1);
    }
}

/// Says what the devices' figures mean.
pub(crate) fn describe() {
    use metrics::Unit::{Count, Seconds};
    describe_gauge!("touchline_device_health", Count, "1 for the health that a device has now, 0 for the others.");
    describe_gauge!(
        "touchline_device_busy_seconds",
        Seconds,
        "Time that a device's served batches took, since the start."
    );
    describe_gauge!("touchline_device_busy_ratio", Count, "Share of the last minute in which a device worked.");
    describe_gauge!("touchline_device_in_hand_frames", Count, "Frames that a device works on or has prepared.");
    describe_gauge!(
        "touchline_device_hung_threads",
        Count,
        "Threads that wait for earlier processes of a device which cannot be killed."
    );
    describe_gauge!("touchline_device_generation", Count, "The worker generation whose results count.");
    describe_counter!("touchline_device_frames_total", Count, "Frames that a device served.");
    describe_histogram!("touchline_device_batch_frames", Count, "Frames of a served batch.");
    describe_histogram!("touchline_device_batch_seconds", Seconds, "Time that a served batch took.");
    describe_counter!(
        "touchline_device_faults_total",
        Count,
        "Batches and workers of a device that failed, stalls included."
    );
    describe_counter!("touchline_device_stalls_total", Count, "Results of a device that did not come in time.");
    describe_counter!(
        "touchline_device_restarts_total",
        Count,
        "Workers of a device, each with its process, that were started after the first."
    );
}

/// Shows a device's counters from the start, at 0.
pub(super) fn show_counters(device: &str) {
    for name in [
        "touchline_device_frames_total",
        "touchline_device_faults_total",
        "touchline_device_stalls_total",
        "touchline_device_restarts_total",
    ] {
        counter!(name, "device" => device.to_owned()).absolute(0);
    }
}
