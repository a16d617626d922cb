//! A whole file decoded once, to find what is wrong with it.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::audio::{self, AudioSource};
use crate::decode::FrameDecoder;
use crate::error::{MediaError, Result};
use crate::index::build_index_unless;
use crate::input::{Stop, never};
use crate::probe::{Probe, probe};

/// What decoding a whole file showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ScanReport {
    #[serde(flatten)]
    pub probe: Probe,
    /// Displayed frames.
    pub frames: u64,
    pub keyframes: u64,
    /// Seconds from the first frame to the end of the last.
    pub seconds: f64,
    /// Damage, in words.
    pub warnings: Vec<String>,
}

/// Probes a file and decodes all of its frames.
///
/// # Errors
/// As [`probe()`]; damage in the middle is a warning, not an error.
pub fn scan(path: &Path) -> Result<ScanReport> {
    scan_unless(path, &never)
}

/// [`scan`] that ends early once `stop` says so, which is asked before every packet of the index and every frame.
///
/// # Errors
/// As [`scan`]; [`MediaError::Cancelled`] when it was stopped.
pub fn scan_unless(path: &Path, stop: &Stop) -> Result<ScanReport> {
    let mut probe = probe(path)?;
    let index = Arc::new(build_index_unless(path, stop)?);
    // What the whole file shows counts, not what its header says.
    probe.duration = edits::rational::to_f64(index.times.duration());
    if index.has_late_sound() {
        probe.audio = audio::describe(&AudioSource::of(path, &index))?;
    }
    // Frame threads hand frames out before they have found their damage.
    let mut decoder = FrameDecoder::open(path, index.clone(), 1)?;
    let mut undecodable = 0;
    for frame in 0..index.len() {
        if stop() {
            return Err(MediaError::Cancelled);
        }
        undecodable += u64::from(decoder.frame(frame).is_err());
    }
    let mut warnings = index.warnings.clone();
    if decoder.warnings() > 0 {
        warnings.push(format!("{} damaged frames were concealed", decoder.warnings()));
    }
    if undecodable > 0 {
        warnings.push(format!("{undecodable} frames cannot be decoded"));
    }
    Ok(ScanReport {
        probe,
        frames: index.len() as u64,
        keyframes: index.keyframes.len() as u64,
        seconds: edits::rational::to_f64(index.times.duration()),
        warnings,
    })
}
