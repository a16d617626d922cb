//! Clips by stream copy: players start with the right frame and its sound, and show no frame more.

use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::common::{ffmpeg, ffprobe, rate, rect, text};
use edits::RgbImage;
use media::testing::{StampedVideo, find_clicks, read_sound, read_stamp, write_clicks};
use media::{MediaError, build_index, copy_clip};

const SIZE: (u32, u32) = (320, 180);

/// 12 seconds of stamped frames with clicks at whole seconds, encoded by ffmpeg.
fn source(folder: &Path, name: &str, options: &[&str]) -> PathBuf {
    let pictures = folder.join("pictures.mp4");
    StampedVideo { gop: 250, ..StampedVideo::new(SIZE.0, SIZE.1, rate(25, 1), 300) }.write(&pictures).unwrap();
    let clicks = folder.join("clicks.wav");
    write_clicks(&clicks, 12.0, &(1..12).map(f64::from).collect::<Vec<_>>()).unwrap();
    let path = folder.join(name);
    let usual = ["-c:v", "libx264", "-threads", "1", "-g", "48", "-c:a", "aac"];
    ffmpeg(&[&["-i", text(&pictures), "-i", text(&clicks)], &usual[..], options, &[text(&path)]].concat());
    path
}

/// The numbers on the frames that ffmpeg shows. Any complaint of the decoder fails this.
fn shown(path: &Path) -> Vec<u32> {
    let raw = ffmpeg(&["-i", text(path), "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]);
    let whole = rect(0.0, 0.0, f64::from(SIZE.0), f64::from(SIZE.1));
    let frames = raw.chunks_exact((SIZE.0 * SIZE.1 * 3) as usize);
    let image = |data: &[u8]| RgbImage { data: data.to_vec(), ..RgbImage::new(SIZE.0, SIZE.1) };
    frames.map(|data| read_stamp(&image(data), SIZE, &whole).unwrap()).collect()
}

/// The clicks that ffmpeg lets be heard, in seconds of the clip.
fn heard(path: &Path) -> Vec<f64> {
    let raw = ffmpeg(&["-i", text(path), "-map", "0:a", "-f", "f32le", "-ac", "1", "-ar", "48000", "-"]);
    let samples: Vec<f32> = raw.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    find_clicks(&samples)
}

fn holds(path: &Path, frames: Range<usize>) {
    let index = build_index(path).unwrap();
    assert_eq!(index.len(), 300);
    let out = path.with_file_name("clip.mp4");
    let copied = copy_clip(path, &index, frames.clone(), &out).unwrap();
    assert_eq!(copied.frames, frames.len() as u64);
    assert_eq!(copied.bytes, std::fs::metadata(&out).unwrap().len());
    assert!((copied.seconds - frames.len() as f64 / 25.0).abs() < 0.002);
    assert_eq!(shown(&out), (frames.start as u32..frames.end as u32).collect::<Vec<_>>(), "{path:?} {frames:?}");

    let (from, to) = (frames.start as f64 / 25.0, frames.end as f64 / 25.0);
    let expected: Vec<f64> = (1..12).map(f64::from).filter(|&t| t > from + 0.02 && t < to - 0.02).collect();
    for clicks in [heard(&out), find_clicks(&read_sound(&out, edits::Rat::from(0), 48_000 * 12).unwrap())] {
        let clicks: Vec<f64> = clicks.into_iter().filter(|t| *t > 0.02 && *t < to - from - 0.02).collect();
        assert_eq!(clicks.len(), expected.len(), "{path:?} {frames:?}: {clicks:?}");
        for (click, second) in clicks.iter().zip(&expected) {
            assert!((click + from - second).abs() < 0.003, "{path:?} {frames:?}: {clicks:?}");
        }
    }
    let lengths = ffprobe(&["-show_entries", "format=start_time,duration", text(&out)]);
    let (start, length) = lengths.trim().split_once(',').unwrap();
    assert!(start.parse::<f64>().unwrap().abs() < 1e-6, "{lengths}");
    assert!((length.parse::<f64>().unwrap() - copied.seconds).abs() < 0.03, "{lengths}");
}

#[test]
fn clips_of_mp4_start_and_end_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = source(folder.path(), "source.mp4", &[]);
    for frames in [0..300, 0..1, 48..96, 61..147, 95..98, 100..101, 102..103, 250..300, 299..300] {
        holds(&path, frames);
    }
}

#[test]
fn clips_of_other_containers() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["source.mkv", "source.ts", "source.mov"] {
        let path = source(folder.path(), name, &[]);
        for frames in [0..50, 61..147, 240..300] {
            holds(&path, frames);
        }
    }
}

#[test]
fn clips_of_open_groups_and_other_codecs() {
    let folder = tempfile::tempdir().unwrap();
    let open = source(folder.path(), "open.mp4", &["-x264-params", "open-gop=1"]);
    for frames in [48..96, 61..147] {
        holds(&open, frames);
    }
    holds(&source(folder.path(), "asp.mp4", &["-c:v", "mpeg4", "-bf", "2", "-q:v", "2"]), 61..147);
    holds(&source(folder.path(), "hevc.mkv", &["-c:v", "libx265", "-x265-params", "log-level=none"]), 61..147);
    holds(&source(folder.path(), "plain.mp4", &["-bf", "0", "-c:a", "libmp3lame"]), 61..147);
}

#[test]
fn a_clip_keeps_its_orientation_and_tags() {
    let folder = tempfile::tempdir().unwrap();
    let upright = source(folder.path(), "upright.mp4", &["-metadata", "title=The match"]);
    let path = folder.path().join("turned.mp4");
    ffmpeg(&["-i", text(&upright), "-c", "copy", "-metadata:s:v:0", "rotate=90", text(&path)]);
    let index = build_index(&path).unwrap();
    let out = folder.path().join("clip.mp4");
    copy_clip(&path, &index, 30..60, &out).unwrap();
    let probed = media::probe(&out).unwrap();
    assert_eq!((probed.width, probed.height), (SIZE.1, SIZE.0));
    assert_eq!(probed.rotation, media::probe(&path).unwrap().rotation);
    assert!(ffprobe(&["-show_entries", "format_tags=title", text(&out)]).contains("The match"));
}

#[test]
fn what_mp4_cannot_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("clip.mp4");
    let vp8 = ["-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus"];
    for (name, options) in [("vp8.webm", &vp8[..]), ("pcm.mov", &["-c:a", "pcm_s16le"])] {
        let path = source(folder.path(), name, options);
        let refused = copy_clip(&path, &build_index(&path).unwrap(), 10..20, &out).unwrap_err();
        assert!(matches!(refused, MediaError::Refused { code: "unsupported", .. }), "{refused}");
    }
    let path = source(folder.path(), "source.mp4", &[]);
    let index = build_index(&path).unwrap();
    assert!(copy_clip(&path, &index, 290..301, &out).is_err());
    assert!(copy_clip(&path, &index, 7..7, &out).is_err());
    assert!(!out.exists());
}
