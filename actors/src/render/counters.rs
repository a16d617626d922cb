//! What a task has done so far: counted by the threads that render it, sent to the task's owner.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::stage::{STAGES, Stage};

/// Most warnings of a task, and of an export: a damaged file may give one for each frame.
pub(super) const MOST_WARNINGS: usize = 1000;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Counters {
    /// Nanoseconds.
    stages: [AtomicU64; STAGES],
    frames: AtomicU64,
    beats: AtomicU64,
    warnings: Mutex<BTreeSet<String>>,
    concealed: AtomicU64,
}

/// How far a task is: everything since its beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advance {
    /// Finished output frames.
    pub frames: u64,
    /// Busy nanoseconds of each [`Stage`], summed over threads.
    pub stages: [u64; STAGES],
    /// Grows while work advances, also where nothing else does.
    pub beats: u64,
}

/// What the user should know of a task that is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notes {
    pub warnings: Vec<String>,
    /// Damaged or missing source frames in whose place a neighbour was shown.
    pub concealed: u64,
}

impl Counters {
    /// Runs `work` and books its time on a stage.
    pub fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = stage.span().in_scope(work);
        self.beat();
        self.stages[stage as usize].fetch_add(nanoseconds(began.elapsed()), Relaxed);
        result
    }

    /// Counts a finished frame.
    pub fn frame_done(&self) {
        self.beat();
        self.frames.fetch_add(1, Relaxed);
    }

    /// Shows that work advances.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Relaxed);
    }

    /// Notes something the user should know; the same text counts once.
    pub fn warn(&self, warning: String) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if warnings.len() < MOST_WARNINGS {
            warnings.insert(warning);
        }
    }

    /// Counts damaged or missing source frames in whose place a neighbour was shown.
    pub fn concealed(&self, frames: u64) {
        self.concealed.fetch_add(frames, Relaxed);
    }

    /// How far the task is.
    pub fn advance(&self) -> Advance {
        Advance {
            frames: self.frames.load(Relaxed),
            stages: std::array::from_fn(|stage| self.stages[stage].load(Relaxed)),
            beats: self.beats.load(Relaxed),
        }
    }

    /// What was noted.
    pub fn notes(&self) -> Notes {
        let warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        Notes { warnings: warnings.iter().cloned().collect(), concealed: self.concealed.load(Relaxed) }
    }
}

/// A time in the unit in which stages are counted.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_booked_on_its_stage() {
        let counters = Counters::default();
        let answer = counters.time(Stage::Encode, || {
            std::thread::sleep(Duration::from_millis(1));
            7
        });
        counters.frame_done();
        let advance = counters.advance();
        assert_eq!((answer, advance.frames, advance.beats), (7, 1, 2));
        assert!(advance.stages[Stage::Encode as usize] >= 1_000_000);
        assert_eq!(advance.stages[Stage::Decode as usize], 0);
    }

    #[test]
    fn the_same_warning_is_noted_once() {
        let counters = Counters::default();
        ["b", "a", "b"].into_iter().for_each(|warning| counters.warn(warning.to_owned()));
        counters.concealed(2);
        assert_eq!(counters.notes(), Notes { warnings: vec!["a".into(), "b".into()], concealed: 2 });
    }
}
