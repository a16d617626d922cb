//! The memory of a server and of the processes that it started, over time.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::process::children;

const EVERY: Duration = Duration::from_millis(250);

/// Resident memory of a process and of all below it, sampled four times a second, in bytes.
pub struct Memory(Vec<f64>);

/// A watch that goes on until it is ended.
pub struct Watch {
    end: Sender<()>,
    samples: JoinHandle<Vec<f64>>,
}

impl Memory {
    /// Begins to watch.
    pub fn watch(process: u32) -> Watch {
        let (end, ended) = channel();
        let samples = std::thread::spawn(move || {
            let mut samples = Vec::new();
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                samples.extend(resident(process));
            }
            samples
        });
        Watch { end, samples }
    }

    /// The medians of the second and of the last third of the time; 0 where nothing was seen.
    pub fn thirds(&self) -> (f64, f64) {
        let third = self.0.len() / 3;
        (median(&self.0[third..2 * third]), median(&self.0[2 * third..]))
    }

    /// The most that was seen; 0 where nothing was.
    pub fn most(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f64::max)
    }
}

impl Watch {
    /// What was seen.
    pub fn end(self) -> Memory {
        // The thread waits for this, or is gone already.
        let _ = self.end.send(());
        Memory(self.samples.join().unwrap_or_default())
    }
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Resident memory of a process and of all below it. A page that several of them share counts once (`Pss` of proc(5)):
/// render processes are forked from one, so the sum of their resident sets would be several times what they take.
/// None where the process is no more.
fn resident(process: u32) -> Option<f64> {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    let below: f64 = children(process).ok()?.into_iter().filter_map(resident).sum();
    Some(kibibytes * 1024.0 + below)
}
