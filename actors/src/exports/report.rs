//! The report of a finished export: what was made, how long it took and where the time went.

use serde::Serialize;

use crate::render::{DeviceUse, Joined, Meter, Stages};

/// Printed by the command line and stored with the export.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Output frames.
    pub frames: u64,
    /// Frames a device worked on; fewer when neighbours show the same source frame.
    pub frames_inferred: u64,
    /// Length of the output, in seconds.
    pub duration: f64,
    /// Wall time from devices ready to file published.
    pub seconds: f64,
    /// Output frames per wall second.
    pub fps: f64,
    pub device_seconds: f64,
    pub stages: Stages,
    pub devices: Vec<DeviceUse>,
    pub warnings: Vec<String>,
    /// Largest memory that this process has held so far, and with it the processes of the export that ran at the same
    /// time.
    pub peak_rss_bytes: u64,
    /// True when a device only waited instead of computing.
    pub simulated: bool,
    pub profile: serde_json::Value,
    /// Fields of the export's kind.
    #[serde(flatten)]
    pub details: serde_json::Map<String, serde_json::Value>,
}

/// Sums over the export's segments, of every node and run of the server.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    pub frames_inferred: u64,
    pub device_seconds: f64,
}

impl Report {
    pub fn new(joined: Joined, meter: &Meter, totals: Totals, profile: serde_json::Value, simulated: bool) -> Self {
        let seconds = meter.began.elapsed().as_secs_f64();
        Self {
            frames: joined.frames,
            frames_inferred: totals.frames_inferred,
            duration: joined.seconds,
            seconds,
            fps: joined.frames as f64 / seconds.max(1e-9),
            device_seconds: totals.device_seconds,
            stages: meter.stages(),
            devices: meter.devices(),
            warnings: meter.warnings(),
            peak_rss_bytes: peak_rss_bytes() + meter.peak_memory_bytes(),
            simulated,
            profile,
            details: serde_json::Map::new(),
        }
    }
}

/// The high-water mark of this process's resident memory (`VmHWM`); 0 where the system does not report it.
pub fn peak_rss_bytes() -> u64 {
    let read = || -> Option<u64> {
        let text = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes * 1024)
    };
    read().unwrap_or(0)
}
