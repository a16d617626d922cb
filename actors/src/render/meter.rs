//! What an export has done so far: counted from what its tasks send, read by its actor and its report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::counters::{Advance, MOST_WARNINGS, Notes, nanoseconds};
use super::stage::{STAGES, Stage};
use crate::inference::queue::Served;

/// Bytes of a warning beyond which nothing is taken over, whatever a task says.
const MOST_WARNING_BYTES: usize = 1000;
/// More than this no process holds, whatever it says: a pebibyte.
const MOST_MEMORY: u64 = 1 << 50;

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
    stages: [AtomicU64; STAGES],
    frames_done: AtomicU64,
    /// Frames that were finished when this process took the export up, and those that are copied.
    frames_before: AtomicU64,
    beats: AtomicU64,
    devices: Mutex<BTreeMap<Arc<str>, DeviceUse>>,
    warnings: Mutex<BTreeSet<String>>,
    concealed: AtomicU64,
    /// Of the tasks that run now, and the most that it was.
    memory_bytes: AtomicU64,
    peak_memory_bytes: AtomicU64,
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
            memory_bytes: AtomicU64::new(0),
            peak_memory_bytes: AtomicU64::new(0),
        }
    }

    /// Books a served frame on its device.
    pub fn served(&self, served: &Served) {
        self.beat();
        let busy = nanoseconds(Duration::from_secs_f64(served.device_seconds));
        self.stages[Stage::Infer as usize].fetch_add(busy, Relaxed);
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
    fn beat(&self) {
        self.beats.fetch_add(1, Relaxed);
    }

    /// Grows while work advances.
    pub fn beats(&self) -> u64 {
        self.beats.load(Relaxed)
    }

    /// What a task of the export does, to be followed.
    pub fn task(self: &Arc<Self>, most_frames: u64) -> TaskMeter {
        TaskMeter { meter: Arc::clone(self), most_frames, seen: Advance::default(), memory_bytes: 0 }
    }

    /// Takes over what the user should know of a task.
    pub fn note(&self, notes: Notes) {
        for mut warning in notes.warnings {
            warning.truncate(warning.floor_char_boundary(MOST_WARNING_BYTES.min(warning.len())));
            self.warn(warning);
        }
        self.concealed.fetch_add(notes.concealed, Relaxed);
    }

    /// Sets the number of frames that this process does not render: those of segments that were finished before it took
    /// the export up, and those that joining copies.
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
        let mut warnings = lock(&self.warnings);
        if warnings.len() < MOST_WARNINGS {
            warnings.insert(warning);
        }
    }

    /// Everything that was noted, in a fixed order.
    pub fn warnings(&self) -> Vec<String> {
        let concealed = self.concealed.load(Relaxed);
        let damage = (concealed > 0).then(|| format!("{concealed} damaged or missing source frames were concealed"));
        lock(&self.warnings).iter().cloned().chain(damage).collect()
    }

    /// The most memory that the processes of tasks have held at the same time, each counted with its own peak.
    pub fn peak_memory_bytes(&self) -> u64 {
        self.peak_memory_bytes.load(Relaxed)
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

/// Follows one task: adds to the export's counters what it has done. Frames of a task that is not kept are taken back: a
/// segment that fails had none.
pub struct TaskMeter {
    meter: Arc<Meter>,
    /// More frames than these are not counted, whatever the task says.
    most_frames: u64,
    seen: Advance,
    memory_bytes: u64,
}

impl TaskMeter {
    /// The task is as far as `now`, and its process has held so much memory.
    pub fn advanced(&mut self, now: Advance, memory_bytes: u64) {
        let more = memory_bytes.min(MOST_MEMORY).saturating_sub(self.memory_bytes);
        self.memory_bytes += more;
        let together = self.meter.memory_bytes.fetch_add(more, Relaxed) + more;
        self.meter.peak_memory_bytes.fetch_max(together, Relaxed);
        let now = Advance { frames: now.frames.min(self.most_frames), ..now };
        self.meter.beat();
        self.meter.frames_done.fetch_add(now.frames.saturating_sub(self.seen.frames), Relaxed);
        for ((total, now), seen) in self.meter.stages.iter().zip(now.stages).zip(self.seen.stages) {
            total.fetch_add(now.saturating_sub(seen), Relaxed);
        }
        let latest = |now: u64, seen: u64| now.max(seen);
        self.seen = Advance {
            frames: latest(now.frames, self.seen.frames),
            stages: std::array::from_fn(|stage| latest(now.stages[stage], self.seen.stages[stage])),
            beats: now.beats,
        };
    }

    /// The task is done: its frames count.
    pub fn keep(mut self) {
        self.seen.frames = 0;
    }
}

impl Drop for TaskMeter {
    fn drop(&mut self) {
        self.meter.frames_done.fetch_sub(self.seen.frames, Relaxed);
        self.meter.memory_bytes.fetch_sub(self.memory_bytes, Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no code panics while it holds this lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_a_task_that_fails_are_taken_back() {
        let meter = Arc::new(Meter::new());
        let mut failing = meter.task(10);
        failing.advanced(Advance { frames: 4, stages: [1_000_000_000; STAGES], beats: 1 }, 300);
        let mut done = meter.task(10);
        done.advanced(Advance { frames: 7, stages: [0; STAGES], beats: 1 }, 200);
        done.advanced(Advance { frames: 10, stages: [0; STAGES], beats: 2 }, 100);
        assert_eq!(meter.frames(), (14, 14));
        drop(failing);
        done.keep();
        assert_eq!(meter.frames(), (10, 10));
        assert_eq!(meter.stages().encode, 1.0, "the time was spent all the same");
        assert_eq!(meter.peak_memory_bytes(), 500);
        meter.task(1).advanced(Advance::default(), 400);
        assert_eq!(meter.peak_memory_bytes(), 500, "the others have ended");
    }

    #[test]
    fn an_export_has_so_many_warnings_whatever_its_tasks_say() {
        let meter = Meter::new();
        for task in 0..3 {
            let warnings = (0..MOST_WARNINGS).map(|number| format!("{task} {number} {}", "x".repeat(2000))).collect();
            meter.note(Notes { warnings, concealed: 0 });
        }
        let warnings = meter.warnings();
        assert_eq!(warnings.len(), MOST_WARNINGS);
        assert!(warnings.iter().all(|warning| warning.len() <= MOST_WARNING_BYTES));
    }

    #[test]
    fn a_task_that_says_too_much_is_not_believed() {
        let meter = Arc::new(Meter::new());
        let mut task = meter.task(10);
        task.advanced(Advance { frames: u64::MAX, ..Advance::default() }, u64::MAX);
        task.advanced(Advance { frames: 3, ..Advance::default() }, 1);
        assert_eq!((meter.frames().1, meter.peak_memory_bytes()), (10, MOST_MEMORY));
        drop(task);
        assert_eq!(meter.frames().1, 0);
    }
}
