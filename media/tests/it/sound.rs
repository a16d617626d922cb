//! Sound lies where the picture puts it: clicks through cut, encoding and assembly.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::{ffmpeg, ffprobe, rate, rect, text};
use edits::{AudioPart, AudioPiece, Rat};
use media::testing::{StampedVideo, find_clicks, write_clicks};
use media::{
    AudioSource, Cropper, FrameDecoder, MediaError, SegmentEncoder, VideoSettings, assemble, build_index, probe,
    render_audio,
};

const RATE: u32 = 48_000;

fn seconds(value: f64) -> Rat {
    edits::rational::seconds_from_f64(value)
}

/// A click every 0.7 s from 0.35 s on.
fn click_times(length: f64) -> Vec<f64> {
    (0..).map(|n| 0.35 + 0.7 * f64::from(n)).take_while(|&t| t < length - 0.1).collect()
}

/// A 20 s video and its clicks, made by `arguments` from `video.mp4` and `clicks.wav`.
fn source(folder: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let (video, wav) = (folder.join("video.mp4"), folder.join("clicks.wav"));
    if !video.exists() {
        StampedVideo::new(64, 36, rate(25, 1), 500).write(&video).unwrap();
        write_clicks(&wav, 20.0, &click_times(20.0)).unwrap();
    }
    let path = folder.join(name);
    let arguments: Vec<&str> = arguments
        .iter()
        .map(|&argument| match argument {
            "VIDEO" => text(&video),
            "CLICKS" => text(&wav),
            other => other,
        })
        .collect();
    ffmpeg(&[&arguments[..], &[text(&path)]].concat());
    path
}

fn audio_source(path: &Path) -> AudioSource {
    AudioSource::of(path, &build_index(path).unwrap())
}

/// One piece of `length` seconds of a source from `start` on, at output second `at`.
fn piece(source: usize, start: f64, at: f64, length: f64) -> AudioPiece {
    let sample = |t: f64| (t * f64::from(RATE)).round() as u64;
    let part = AudioPart { source_start: seconds(start), source_end: seconds(start + length), speed: Rat::from(1) };
    AudioPiece { source, samples: sample(at)..sample(at + length), parts: vec![part], fade_in: 0, fade_out: 0 }
}

/// The sound of a file from its time 0, decoded by the ffmpeg program.
fn decoded(path: &Path) -> Vec<f32> {
    let bytes = ffmpeg(&["-i", text(path), "-map", "a", "-ac", "1", "-ar", "48000", "-f", "f32le", "-"]);
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn silent_video(folder: &Path, frames: u64) -> (Vec<PathBuf>, VideoSettings) {
    let settings =
        VideoSettings { width: 36, height: 64, rate: rate(30, 1), gop: 30, crf: 30, preset: "ultrafast".into() };
    let video = folder.join("video.mp4");
    let mut decoder = FrameDecoder::open(&video, Arc::new(build_index(&video).unwrap()), 1).unwrap();
    let crop = rect(0.0, 0.0, 20.25, 36.0);
    let yuv = Cropper::new().yuv(&decoder.frame(0).unwrap(), &crop, 0.0, 36, 64);
    let mut segments = Vec::new();
    for first in (0..frames).step_by(120) {
        let path = folder.join(format!("segment-{first}.mp4"));
        let mut encoder = SegmentEncoder::create(&path, &settings).unwrap();
        for _ in first..(first + 120).min(frames) {
            encoder.push(&yuv).unwrap();
        }
        encoder.finish().unwrap();
        segments.push(path);
    }
    (segments, settings)
}

#[test]
fn clicks_of_many_sources_are_where_their_pictures_are() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let both = ["-i", "VIDEO", "-i", "CLICKS"];
    let aac = ["-c:v", "copy", "-c:a", "aac", "-b:a", "192k"];
    let plain = source(folder, "plain.mp4", &[&both[..], &aac].concat());
    let cut = folder.join("cut.mp4");
    // An edit list hides what lies before 2.4 s; frame 60 comes first.
    ffmpeg(&["-ss", "2.4", "-i", text(&plain), "-c", "copy", text(&cut)]);
    // Time stamps that start at 900 s; 44.1 kHz sound.
    let late = source(folder, "late.ts", &[&both[..], &aac, &["-ar", "44100", "-output_ts_offset", "900"]].concat());
    // Sound that starts 1.5 s after the picture, then before it.
    let delayed =
        source(folder, "delayed.mkv", &[&["-i", "VIDEO", "-itsoffset", "1.5", "-i", "CLICKS"][..], &aac].concat());
    let early = source(
        folder,
        "early.mkv",
        &[&["-itsoffset", "1.5", "-i", "VIDEO", "-i", "CLICKS"][..], &["-c:v", "copy", "-c:a", "flac"]].concat(),
    );
    let surround = source(folder, "surround.mp4", &[&both[..], &aac, &["-ac", "6"]].concat());
    let sources: Vec<AudioSource> =
        [&plain, &cut, &late, &delayed, &early, &surround].into_iter().map(|path| audio_source(path)).collect();
    // Source seconds at which the click made at 0 is heard.
    let shifts = [0.0, -2.4, 0.0, 1.5, -1.5, 0.0];
    assert!((edits::rational::to_f64(build_index(&late).unwrap().start()) - 901.0).abs() < 1.5);

    let pieces: Vec<(usize, f64)> = vec![(0, 3.1), (1, 0.0), (2, 7.77), (3, 0.5), (4, 0.0), (5, 4.0)];
    let length = 10.0;
    let rendered: Vec<AudioPiece> = pieces
        .iter()
        .enumerate()
        .map(|(n, &(source, start))| piece(source, start, n as f64 * length, length))
        .collect();
    let track = folder.join("sound.mp4");
    let stats = render_audio(&sources, &rendered, RATE, &track, &|| false).unwrap();
    assert_eq!(stats.samples, 60 * u64::from(RATE));
    let (segments, settings) = silent_video(folder, 1800);
    let out = folder.join("reel.mp4");
    assemble(&segments, Some(&track), &settings, &[], false, &out).unwrap();

    let sound = decoded(&out);
    let heard = find_clicks(&sound);
    let mut due: Vec<f64> = Vec::new();
    for (n, &(source, start)) in pieces.iter().enumerate() {
        let times = click_times(20.0).into_iter().map(|t| t + shifts[source] - start);
        due.extend(times.filter(|&t| t > 0.01 && t < length - 0.01).map(|t| n as f64 * length + t));
    }
    assert_eq!(heard.len(), due.len(), "heard {heard:?}\ndue {due:?}");
    for (n, path) in [&plain, &cut, &late, &delayed, &early, &surround].into_iter().enumerate() {
        let within = |t: &f64| (*t / length) as usize == n;
        let off = heard.iter().zip(&due).filter(|(_, d)| within(d)).map(|(h, d)| (h - d) * 1000.0);
        let off: Vec<f64> = off.collect();
        println!("{}: {:.2} to {:.2} ms", path.display(), off[0], off[off.len() - 1]);
    }
    let worst = heard.iter().zip(&due).map(|(h, d)| (h - d).abs()).fold(0.0, f64::max);
    println!("{} clicks in 60 s, at most {:.3} ms off", heard.len(), worst * 1000.0);
    assert!(worst < 0.003, "{worst}");
    let length = ffprobe(&["-select_streams", "a", "-show_entries", "stream=duration_ts,start_time", text(&out)]);
    assert!(length.contains(&format!("{}", 60 * RATE)), "{length}");
    // The container may carry the rest of the last AAC frame, never less than what was asked for.
    assert!((60 * 48_000..60 * 48_000 + 1024).contains(&sound.len()), "{}", sound.len());
    assert_eq!(probe(&out).unwrap().audio.unwrap().channels, 2);
}

#[test]
fn sources_without_sound_are_silent_and_counts_are_exact() {
    let folder = tempfile::tempdir().unwrap();
    let plain = source(folder.path(), "plain.mp4", &["-i", "VIDEO", "-i", "CLICKS", "-c:v", "copy", "-c:a", "aac"]);
    let silent = folder.path().join("video.mp4");
    let sources = [audio_source(&plain), AudioSource::silent(), audio_source(&silent)];
    let pieces = [piece(1, 0.0, 0.0, 1.0), piece(0, 19.0, 1.0, 2.0), piece(2, 0.0, 3.0, 0.123)];
    let track = folder.path().join("sound.mp4");
    let stats = render_audio(&sources, &pieces, RATE, &track, &|| false).unwrap();
    assert_eq!(stats.samples, 3 * u64::from(RATE) + 5904);
    let sound = decoded(&track);
    assert!(sound[..47_000].iter().all(|s| s.abs() < 0.01), "no sound: silence");
    // The source ends at 20 s, in the middle of its piece.
    assert!(sound[98_000..].iter().all(|s| s.abs() < 0.01), "past the end: silence");
    let expected = click_times(20.0).into_iter().filter(|&t| t > 19.0).map(|t| t - 18.0);
    let heard = find_clicks(&sound);
    assert!(heard.iter().zip(expected).all(|(h, e)| (h - e).abs() < 0.003), "{heard:?}");
    assert!(!heard.is_empty());
}

#[test]
fn same_sound_gives_same_bytes_and_cancelling_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plain = source(folder.path(), "plain.mp4", &["-i", "VIDEO", "-i", "CLICKS", "-c:v", "copy", "-c:a", "aac"]);
    let sources = [audio_source(&plain)];
    let pieces = [piece(0, 2.0, 0.0, 5.0)];
    let (a, b) = (folder.path().join("a.mp4"), folder.path().join("b.mp4"));
    render_audio(&sources, &pieces, RATE, &a, &|| false).unwrap();
    render_audio(&sources, &pieces, RATE, &b, &|| false).unwrap();
    assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
    let stopped = folder.path().join("stopped.mp4");
    let result = render_audio(&sources, &pieces, RATE, &stopped, &|| true);
    assert!(matches!(result, Err(MediaError::Cancelled)));
    assert!(!stopped.exists());
}
