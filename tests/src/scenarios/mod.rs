//! What Touchline has to stand, one scenario a file. Tests run each at a small size and assert on what it found;
//! `make soak` runs them at full size and writes what they found to `docs/reliability.md`.
//!
//! A scenario is a `Size` with the constants `TEST` and `SOAK`, and `run(size)`, which gives findings and fails only when
//! it could not be tried at all. What `make soak` runs is listed in `tests/src/bin/soak`.

pub mod fuzz;
pub mod listeners;
pub mod load;
pub mod settings;

pub mod devices;
pub mod scaling;

pub mod attack;
pub mod crowd;
pub mod fairness;
pub mod latency;

pub mod cancels;
pub mod crash_points;
pub mod disk;
pub mod flows;
pub mod hostile_files;
pub mod kills;
mod memory;
pub mod process_kills;
pub mod test_server;
pub mod uploads;

use std::time::Duration;

use anyhow::Result;
use futures_util::future::LocalBoxFuture;

/// A scenario under way. It is boxed where it is written: a caller that polled the future itself would compile all of
/// the scenario once more, and there are `make soak` and two test programs.
pub type Running = LocalBoxFuture<'static, Result<Vec<Finding>>>;

/// One figure of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What was measured, on what.
    pub what: String,
    /// What has to come out, with its unit.
    pub asked: String,
    /// What came out.
    pub found: String,
    /// Whether that is what was asked for.
    pub met: bool,
}

impl Finding {
    /// A figure and whether it is as it has to be.
    pub fn new(what: impl Into<String>, asked: impl Into<String>, found: impl Into<String>, met: bool) -> Self {
        Self { what: what.into(), asked: asked.into(), found: found.into(), met }
    }
}

/// What 99 of 100 of `sorted` are at most; None of nothing.
fn p99<T: Copy>(sorted: &[T]) -> Option<T> {
    sorted.get((sorted.len() * 99).div_ceil(100).saturating_sub(1)).copied()
}

/// A time in milliseconds.
fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// For tests: every figure is as it has to be.
///
/// # Panics
/// With the figures that are not.
pub fn assert_met(findings: &[Finding]) {
    let missed: Vec<_> = findings.iter().filter(|finding| !finding.met).collect();
    assert!(!findings.is_empty(), "the scenario found nothing out");
    assert!(missed.is_empty(), "{missed:#?}");
}

/// How often a scenario whose figures are ratios of times is measured.
const MEASURED: usize = 3;

/// For tests of such scenarios: every figure is as it has to be in one of three measurements. A machine that others use
/// too may pause in any of them; a scheduler that is unfair is so in all.
///
/// # Panics
/// With the figures of the last measurement that are not.
pub async fn assert_met_in_time(measure: fn() -> Running) -> Result<()> {
    for _ in 1..MEASURED {
        let findings = measure().await?;
        if !findings.is_empty() && findings.iter().all(|finding| finding.met) {
            return Ok(());
        }
        eprintln!("measuring again: {findings:#?}");
    }
    assert_met(&measure().await?);
    Ok(())
}
