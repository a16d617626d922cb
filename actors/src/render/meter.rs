//! What an export has done so far: counted by its render threads, read by its actor and its report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::Serialize;
use tracing::{Span, trace_span};

use crate::inference::queue::Served;

/// A stage of the pipeline whose busy time is reported.
#[derive(Debug, Clone, Copy)]
pub enum Stage {
    Decode,
    Transform,
    Infer,
    Encode,
    Mux,
}

impl Stage {
    /// The stage's name in a trace.
    fn span(self) -> Span {
        match self {
            Self::Decode => trace_span!("decode"),
            Self::Transform => trace_span!("transform"),
            Self::Infer => trace_span!("infer"),
            Self::Encode => trace_span!("encode"),
            Self::Mux => trace_span!("mux"),
        }
    }
}

/// Busy seconds of each stage, summed over threads.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Stages {
    pub decode: f64,
    pub transform: f64,
    pub infer: f64,
    pub encode: f64,
    pub mux: f64,
}

/// What one device did for an export.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceUse {
    pub device: Arc<str>,
    pub frames: u64,
    pub device_seconds: f64,
    /// From the beginning of its first batch to the end of its last.
    pub span_seconds: f64,
    /// `device_seconds / span_seconds`: 1 when the device never waited.
    pub busy_ratio: f64,
    #[serde(skip)]
    span: (Instant, Instant),
}

/// See the [module](self).
pub struct Meter {
    pub began: Instant,
    stages: [AtomicU64; 5],
    frames_done: AtomicU64,
    /// Frames that were there when this process took the export up.
    frames_before: AtomicU64,
    beats: AtomicU64,
    devices: Mutex<BTreeMap<Arc<str>, DeviceUse>>,
    warnings: Mutex<BTreeSet<String>>,
    concealed: AtomicU64,
}

impl Meter {
    /// A meter at zero, started now.
    #[expect(clippy::new_without_default, reason = "it starts a clock, which a default hides")]
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            stages: Default::default(),
            frames_done: AtomicU64::new(0),
            frames_before: AtomicU64::new(0),
            beats: AtomicU64::new(0),
            devices: Mutex::default(),
            warnings: Mutex::default(),
            concealed: AtomicU64::new(0),
        }
    }

    /// Runs `work` and books its time on a stage.
    pub fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = stage.span().in_scope(work);
        self.beat();
        let nanoseconds = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.stages[stage as usize].fetch_add(nanoseconds, Relaxed);
        result
    }

    /// Books a served frame on its device.
    pub fn served(&self, served: &Served) {
        self.beat();
        let nanoseconds = Duration::from_secs_f64(served.device_seconds).as_nanos() as u64;
        self.stages[Stage::Infer as usize].fetch_add(nanoseconds, Relaxed);
        let mut devices = lock(&self.devices);
        let entry = devices.entry(Arc::clone(&served.device)).or_insert_with(|| DeviceUse {
            device: Arc::clone(&served.device),
            frames: 0,
            device_seconds: 0.0,
            span_seconds: 0.0,
            busy_ratio: 0.0,
            span: (served.began, served.ended),
        });
        entry.frames += 1;
        entry.device_seconds += served.device_seconds;
        entry.span = (entry.span.0.min(served.began), entry.span.1.max(served.ended));
    }

    /// Shows that work advances: leases are renewed only while it does.
    pub(super) fn beat(&self) {
        self.beats.fetch_add(1, Relaxed);
    }

    /// Grows while work advances.
    pub fn beats(&self) -> u64 {
        self.beats.load(Relaxed)
    }

    /// A count of finished frames that is taken back unless it is kept.
    pub fn tally(&self) -> Tally<'_> {
        Tally { meter: self, frames: 0 }
    }

    /// Counts frames of segments that were finished before this process took the export up.
    pub fn frames_found(&self, frames: u64) {
        self.frames_before.store(frames, Relaxed);
    }

    /// Output frames that exist, and how many of them this process made.
    pub fn frames(&self) -> (u64, u64) {
        let done = self.frames_done.load(Relaxed);
        (self.frames_before.load(Relaxed) + done, done)
    }

    /// Notes something the user should know; the same text counts once.
    pub fn warn(&self, warning: String) {
        lock(&self.warnings).insert(warning);
    }

    /// Counts damaged or missing source frames in whose place a neighbour was shown.
    pub fn concealed(&self, frames: u64) {
        self.concealed.fetch_add(frames, Relaxed);
    }

    /// Everything that was noted, in a fixed order.
    pub fn warnings(&self) -> Vec<String> {
        let concealed = self.concealed.load(Relaxed);
        let damage = (concealed > 0).then(|| format!("{concealed} damaged or missing source frames were concealed"));
        lock(&self.warnings).iter().cloned().chain(damage).collect()
    }

    pub fn stages(&self) -> Stages {
        let seconds = |stage: Stage| self.stages[stage as usize].load(Relaxed) as f64 / 1e9;
        Stages {
            decode: seconds(Stage::Decode),
            transform: seconds(Stage::Transform),
            infer: seconds(Stage::Infer),
            encode: seconds(Stage::Encode),
            mux: seconds(Stage::Mux),
        }
    }

    pub fn devices(&self) -> Vec<DeviceUse> {
        let finished = |entry: &DeviceUse| {
            let span_seconds = (entry.span.1 - entry.span.0).as_secs_f64();
            let busy_ratio = if span_seconds > 0.0 { entry.device_seconds / span_seconds } else { 0.0 };
            DeviceUse { span_seconds, busy_ratio, ..entry.clone() }
        };
        lock(&self.devices).values().map(finished).collect()
    }
}

/// The frames of a segment that is being rendered: a segment that fails had none.
pub struct Tally<'a> {
    meter: &'a Meter,
    frames: u64,
}

impl Tally<'_> {
    /// Counts a finished frame.
    pub fn frame_done(&mut self) {
        self.frames += 1;
        self.meter.beat();
        self.meter.frames_done.fetch_add(1, Relaxed);
    }

    /// The segment is whole: its frames count. Returns how many.
    pub fn keep(mut self) -> u64 {
        std::mem::take(&mut self.frames)
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        self.meter.frames_done.fetch_sub(self.frames, Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds this lock")
}
