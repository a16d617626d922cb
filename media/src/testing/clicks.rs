//! Sound whose place in time can be measured: short bursts at known times.

use std::path::Path;

use edits::Rat;

use crate::audio::{AudioReader, AudioSource};
use crate::error::{MediaError, Result};

const RATE: u32 = 48_000;
/// Standard deviation of a burst's envelope, in seconds.
const WIDTH: f64 = 0.000_5;
const TONE: f64 = 1_500.0;

/// Writes a WAV file (48 kHz, stereo, 16 bit) of `seconds` with a click centred on each of `times`.
///
/// # Errors
/// [`MediaError::Io`] when the file cannot be written.
pub fn write_clicks(path: &Path, seconds: f64, times: &[f64]) -> Result<()> {
    let count = (seconds * f64::from(RATE)).round() as usize;
    let mut samples = vec![0.0f64; count];
    for &time in times {
        let reach = (6.0 * WIDTH * f64::from(RATE)) as i64;
        let centre = (time * f64::from(RATE)).round() as i64;
        for at in (centre - reach).max(0)..(centre + reach).min(count as i64) {
            let t = at as f64 / f64::from(RATE) - time;
            let envelope = (-t * t / (2.0 * WIDTH * WIDTH)).exp();
            samples[at as usize] += 0.8 * envelope * (std::f64::consts::TAU * TONE * t).cos();
        }
    }
    let bytes = (count * 4) as u32;
    let mut wav = Vec::with_capacity(44 + bytes as usize);
    wav.extend(b"RIFF");
    wav.extend((36 + bytes).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x02\0");
    wav.extend(RATE.to_le_bytes());
    wav.extend((RATE * 4).to_le_bytes());
    wav.extend(b"\x04\0\x10\0data");
    wav.extend(bytes.to_le_bytes());
    for sample in samples {
        let value = (sample.clamp(-1.0, 1.0) * 32_767.0).round() as i16;
        wav.extend(value.to_le_bytes());
        wav.extend(value.to_le_bytes());
    }
    std::fs::write(path, wav).map_err(|source| MediaError::io("writing", path, source))
}

/// A file's sound at 48 kHz, left channel, `count` samples from `start` seconds on the file's own clock
/// ([`crate::FrameIndex::start`] for time 0 of the pictures). Empty when there is none.
///
/// # Errors
/// As [`crate::probe()`] and when the sound cannot be decoded.
pub fn read_sound(path: &Path, start: Rat, count: usize) -> Result<Vec<f32>> {
    let Some(mut reader) = AudioReader::open(&AudioSource::alone(path), RATE)? else {
        return Ok(Vec::new());
    };
    let position = (start * Rat::from(i128::from(RATE))).round().to_integer() as i64;
    reader.seek(position)?;
    let mut stereo = vec![0.0; count * 2];
    reader.read(position, &mut stereo)?;
    Ok(stereo.iter().step_by(2).copied().collect())
}

/// Seconds of the clicks in mono sound at 48 kHz: the centres of energy of bursts at least 50 ms apart.
pub fn find_clicks(samples: &[f32]) -> Vec<f64> {
    let window = RATE as usize / 200;
    let apart = RATE as usize / 20;
    let mut clicks = Vec::new();
    let mut at = 0;
    while let Some(found) = samples[at..].iter().position(|sample| sample.abs() > 0.25) {
        let first = at + found;
        let near = &samples[first..(first + window).min(samples.len())];
        let loudest = (0..near.len()).max_by(|&a, &b| near[a].abs().total_cmp(&near[b].abs()));
        let peak = first + loudest.expect("the window holds the sample that was found");
        let from = peak.saturating_sub(window);
        let to = (peak + window).min(samples.len());
        let energy = |i: usize| f64::from(samples[i]) * f64::from(samples[i]);
        let total: f64 = (from..to).map(energy).sum();
        let moment: f64 = (from..to).map(|i| energy(i) * i as f64).sum();
        clicks.push(moment / total / f64::from(RATE));
        at = (peak + apart).min(samples.len());
    }
    clicks
}
