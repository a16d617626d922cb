//! Sound at other speeds keeps its pitch and its length; sounds that overlap are mixed.

use std::path::Path;

use crate::common::{ffmpeg, text};
use edits::{AudioPart, AudioPiece, Rat};
use media::{AudioSource, render_audio};

const RATE: u32 = 48_000;

fn decoded(path: &Path) -> Vec<f32> {
    let bytes = ffmpeg(&["-i", text(path), "-map", "a", "-ac", "1", "-ar", "48000", "-f", "f32le", "-"]);
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// The frequency of a pure tone, from its rising zero crossings, each placed between samples.
fn frequency(sound: &[f32]) -> f64 {
    let rising = |n: &usize| sound[*n] < 0.0 && sound[*n + 1] >= 0.0;
    let place = |n: usize| n as f64 + f64::from(sound[n] / (sound[n] - sound[n + 1]));
    let crossings: Vec<f64> = (0..sound.len() - 1).filter(rising).map(place).collect();
    let (first, last) = (crossings[0], crossings[crossings.len() - 1]);
    (crossings.len() - 1) as f64 * f64::from(RATE) / (last - first)
}

fn loudness(sound: &[f32]) -> f32 {
    (sound.iter().map(|s| s * s).sum::<f32>() / sound.len() as f32).sqrt()
}

fn tone(folder: &Path, hertz: u32, seconds: u32) -> AudioSource {
    let path = folder.join(format!("{hertz}.wav"));
    ffmpeg(&["-f", "lavfi", "-i", &format!("sine=f={hertz}:r=48000:d={seconds}"), "-ac", "2", text(&path)]);
    AudioSource::alone(&path)
}

fn piece(source: usize, samples: std::ops::Range<u64>, parts: &[(i128, i128, Rat)]) -> AudioPiece {
    let part = |&(start, end, speed): &(i128, i128, Rat)| AudioPart {
        source_start: Rat::from(start),
        source_end: Rat::from(end),
        speed,
    };
    AudioPiece { source, samples, parts: parts.iter().map(part).collect(), fade_in: 0, fade_out: 0 }
}

#[test]
fn a_tone_keeps_its_pitch_at_every_speed() {
    let folder = tempfile::tempdir().unwrap();
    let source = tone(folder.path(), 440, 40);
    for (num, den) in [(1, 10), (1, 4), (1, 2), (4, 5), (2, 1), (4, 1), (8, 1)] {
        let speed = Rat::new(num, den);
        let samples = (Rat::from(4 * i128::from(RATE)) / speed).to_integer() as u64;
        let out = folder.path().join("out.mp4");
        let stats = render_audio(
            std::slice::from_ref(&source),
            &[piece(0, 0..samples, &[(8, 12, speed)])],
            RATE,
            &out,
            &|| false,
        )
        .unwrap();
        assert_eq!(stats.samples, samples);
        let sound = decoded(&out);
        let heard = frequency(&sound[1000..samples as usize - 1000]);
        println!("speed {num}/{den}: {heard:.2} Hz");
        assert!((heard / 440.0 - 1.0).abs() < 0.01, "speed {num}/{den}: {heard} Hz");
        let quarter = samples as usize / 4;
        for part in sound[..samples as usize].chunks(quarter) {
            let ratio = loudness(&part[500..part.len() - 500]) / (0.125 / 2f32.sqrt());
            assert!((0.9..1.1).contains(&ratio), "speed {num}/{den}: {ratio} of the tone's loudness");
        }
    }
}

#[test]
fn speeds_follow_each_other_without_a_click() {
    let folder = tempfile::tempdir().unwrap();
    let source = tone(folder.path(), 440, 20);
    let half = Rat::new(1, 2);
    let parts = [(2, 3, Rat::from(1)), (3, 4, half), (4, 5, Rat::from(2)), (5, 6, Rat::from(1))];
    let out = folder.path().join("out.mp4");
    let samples = 4 * u64::from(RATE) + u64::from(RATE) / 2;
    render_audio(&[source], &[piece(0, 0..samples, &parts)], RATE, &out, &|| false).unwrap();
    let sound = decoded(&out);
    // The steepest slope of a 440 Hz tone of this level; AAC adds a little.
    let steepest = 0.125 * std::f32::consts::TAU * 440.0 / RATE as f32;
    for seam in [48_000usize, 144_000, 168_000] {
        let around = &sound[seam - 400..seam + 400];
        let worst = around.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(worst < 1.5 * steepest, "seam at {seam}: a step of {worst}, the tone has {steepest}");
    }
}

#[test]
fn overlapping_pieces_are_mixed_and_faded() {
    let folder = tempfile::tempdir().unwrap();
    let sources = [tone(folder.path(), 440, 10), tone(folder.path(), 2000, 10)];
    let second = u64::from(RATE);
    let mut first = piece(0, 0..4 * second, &[(0, 4, Rat::from(1))]);
    let mut next = piece(1, 3 * second..6 * second, &[(2, 5, Rat::from(1))]);
    (first.fade_out, next.fade_in) = (second, second);
    let out = folder.path().join("out.mp4");
    let stats = render_audio(&sources, &[first, next], RATE, &out, &|| false).unwrap();
    assert_eq!(stats.samples, 6 * second);
    let sound = decoded(&out);
    let at = |from: f64, to: f64| &sound[(from * f64::from(RATE)) as usize..(to * f64::from(RATE)) as usize];
    assert!((frequency(at(0.1, 2.9)) - 440.0).abs() < 1.0);
    assert!((frequency(at(4.1, 5.9)) - 2000.0).abs() < 1.0);
    let full = loudness(at(1.0, 2.0));
    // Half of each, of two tones that have nothing to do with each other: 1/sqrt(2) of one.
    let middle = loudness(at(3.48, 3.52)) / full;
    assert!((0.66..0.76).contains(&middle), "{middle}");
    // A tenth into the dissolve the first is still at nine tenths.
    let early = loudness(at(3.08, 3.12)) / full;
    assert!((0.86..0.95).contains(&early), "{early}");
}
