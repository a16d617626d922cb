//! Every frame is the frame that was asked for: all usual rates, variable rate, four containers, any order.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use crate::common::{ffmpeg, rate, text};
use edits::CropRect;
use media::testing::{StampedVideo, read_stamp};
use media::{Cropper, FrameDecoder, FrameIndex, build_index, probe, scan};

const SIZE: (u32, u32) = (256, 144);

/// The number in the picture of frame `n`.
fn stamp(decoder: &mut FrameDecoder, cropper: &mut Cropper, n: usize) -> Option<u32> {
    let picture = decoder.frame(n).expect("the frame is there");
    let (width, height) = (picture.width(), picture.height());
    let whole = CropRect { x: 0.0, y: 0.0, width: f64::from(width), height: f64::from(height) };
    read_stamp(&cropper.rgb(&picture, &whole, 0.0, width, height), SIZE, &whole)
}

/// Asks for all frames in order, then for many out of order; each must show `first` + its number.
fn expect_exact(path: &Path, frames: usize, first: usize) -> Arc<FrameIndex> {
    let index = Arc::new(build_index(path).expect("the video has an index"));
    assert_eq!(index.len(), frames, "{}: {:?}", path.display(), index.warnings);
    let mut cropper = Cropper::new();
    for threads in [1, 2] {
        let mut decoder = FrameDecoder::open(path, index.clone(), threads).unwrap();
        for n in 0..frames {
            let seen = stamp(&mut decoder, &mut cropper, n);
            assert_eq!(seen, Some((first + n) as u32), "{} in order, frame {n}", path.display());
        }
        let mut n = 7;
        for _ in 0..60 {
            n = (n * 5 + 31) % frames;
            let seen = stamp(&mut decoder, &mut cropper, n);
            assert_eq!(seen, Some((first + n) as u32), "{} out of order, frame {n}", path.display());
        }
        assert_eq!(decoder.warnings(), 0, "{}", path.display());
    }
    index
}

#[test]
fn all_rates_in_all_containers() {
    let folder = tempfile::tempdir().unwrap();
    for (rate, seconds) in
        [(rate(24, 1), 1.0), (rate(25, 1), 1.0), (rate(30_000, 1001), 1.001), (rate(50, 1), 1.0), (rate(60, 1), 1.0)]
    {
        for container in ["mp4", "mkv", "ts"] {
            let path = folder.path().join(format!("{}.{container}", rate.num));
            StampedVideo::new(SIZE.0, SIZE.1, rate, 100).write(&path).unwrap();
            let index = expect_exact(&path, 100, 0);
            let second = rate.num.div_ceil(rate.den) as usize;
            let error = edits::rational::to_f64(index.times.seconds(second)) - seconds;
            assert!(error.abs() < 0.001, "{}: {error}", path.display());
            assert_eq!(probe(&path).unwrap().rate, rate, "{}", path.display());
            assert!(index.warnings.is_empty(), "{:?}", index.warnings);
        }
    }
}

#[test]
fn every_packet_on_the_way_to_a_frame_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one-key-frame.mp4");
    let video = StampedVideo { gop: 1000, ..StampedVideo::new(SIZE.0, SIZE.1, rate(25, 1), 100) };
    video.write(&path).unwrap();
    let index = Arc::new(build_index(&path).unwrap());
    assert_eq!(index.group_of(99), 0);
    let told = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&told);
    let decoder = FrameDecoder::open(&path, index, 1).unwrap();
    let mut decoder = decoder.on_packet(move || {
        counted.fetch_add(1, Relaxed);
    });
    assert_eq!(stamp(&mut decoder, &mut Cropper::new(), 80), Some(80));
    assert!((81..=100).contains(&told.load(Relaxed)), "{told:?} packets were told");
}

#[test]
fn avi_without_presentation_times() {
    let folder = tempfile::tempdir().unwrap();
    for (codec, b_frames) in [("libx264", 2), ("libx264", 0), ("mpeg4", 0), ("mpeg4", 2)] {
        let path = folder.path().join(format!("{codec}-{b_frames}.avi"));
        let mut video = StampedVideo::new(SIZE.0, SIZE.1, rate(25, 1), 80);
        video.codec = codec.into();
        video.b_frames = b_frames;
        video.write(&path).unwrap();
        let index = expect_exact(&path, 80, 0);
        assert_eq!(index.times.seconds(25), edits::Rat::from(1));
    }
}

#[test]
fn raw_stream_without_any_times() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("raw.h264");
    StampedVideo::new(SIZE.0, SIZE.1, rate(25, 1), 60).write(&path).unwrap();
    expect_exact(&path, 60, 0);
}

#[test]
fn variable_frame_rate_keeps_its_times() {
    let folder = tempfile::tempdir().unwrap();
    let mut at = 0;
    let times: Vec<i64> = (0..90)
        .map(|n: i64| {
            at += [16, 33, 41, 100, 17][n as usize % 5];
            at
        })
        .collect();
    for container in ["mp4", "mkv"] {
        let path = folder.path().join(format!("variable.{container}"));
        StampedVideo::at_milliseconds(SIZE.0, SIZE.1, times.clone()).write(&path).unwrap();
        let index = expect_exact(&path, 90, 0);
        for (n, &time) in times.iter().enumerate() {
            let shown = edits::rational::to_f64(index.times.seconds(n)) * 1000.0;
            assert!((shown - (time - times[0]) as f64).abs() < 0.51, "{container} frame {n} at {shown} ms");
        }
    }
}

#[test]
fn edit_list_hides_frames() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, cut) = (folder.path().join("whole.mp4"), folder.path().join("cut.mp4"));
    StampedVideo::new(SIZE.0, SIZE.1, rate(25, 1), 100).write(&whole).unwrap();
    // Stream copy from the key frame before 1.2 s (frame 24) with an edit list that starts at 1.2 s (frame 30).
    ffmpeg(&["-ss", "1.2", "-i", text(&whole), "-c", "copy", text(&cut)]);
    expect_exact(&cut, 70, 30);
}

#[test]
fn start_other_than_zero() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, late) = (folder.path().join("plain.mp4"), folder.path().join("late.ts"));
    StampedVideo::new(SIZE.0, SIZE.1, rate(50, 1), 80).write(&plain).unwrap();
    ffmpeg(&["-i", text(&plain), "-c", "copy", "-output_ts_offset", "900", text(&late)]);
    let index = expect_exact(&late, 80, 0);
    assert!(index.start() > edits::Rat::from(890));
    assert_eq!(index.times.seconds(0), edits::Rat::from(0));
}

#[test]
fn open_groups_of_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, open) = (folder.path().join("plain.mp4"), folder.path().join("open.mp4"));
    StampedVideo::new(SIZE.0, SIZE.1, rate(25, 1), 120).write(&plain).unwrap();
    let x264 = "open-gop=1:keyint=15:min-keyint=15:bframes=3:b-pyramid=normal:scenecut=0";
    ffmpeg(&["-i", text(&plain), "-c:v", "libx264", "-x264-params", x264, text(&open)]);
    expect_exact(&open, 120, 0);
    let hevc = folder.path().join("open-hevc.mkv");
    let x265 = "open-gop=1:keyint=15:min-keyint=15:bframes=3:log-level=none";
    ffmpeg(&["-i", text(&plain), "-c:v", "libx265", "-x265-params", x265, text(&hevc)]);
    expect_exact(&hevc, 120, 0);
}

#[test]
fn joined_in_the_middle_of_a_group() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, late) = (folder.path().join("whole.ts"), folder.path().join("late.ts"));
    StampedVideo::new(SIZE.0, SIZE.1, rate(25, 1), 100).write(&whole).unwrap();
    let bytes = std::fs::read(&whole).unwrap();
    let packet = bytes.len() / 10 / 188 * 188;
    std::fs::write(&late, &bytes[packet..]).unwrap();
    let index = Arc::new(build_index(&late).unwrap());
    assert!(!index.warnings.is_empty());
    let mut decoder = FrameDecoder::open(&late, index.clone(), 1).unwrap();
    let mut cropper = Cropper::new();
    let first = stamp(&mut decoder, &mut cropper, 0).expect("the first frame is whole");
    assert_eq!(first as usize + index.len(), 100);
    assert_eq!(stamp(&mut decoder, &mut cropper, 5), Some(first + 5));
}

#[test]
fn index_survives_as_bytes() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.mp4", "b.avi"] {
        let path = folder.path().join(name);
        StampedVideo::new(SIZE.0, SIZE.1, rate(25, 1), 60).write(&path).unwrap();
        let index = build_index(&path).unwrap();
        let bytes = index.to_bytes();
        assert_eq!(FrameIndex::from_bytes(&bytes).unwrap(), index);
        assert!(FrameIndex::from_bytes(&bytes[..bytes.len() / 2]).is_err());
        assert!(FrameIndex::from_bytes(b"nonsense").is_err());
    }
}

#[test]
fn interlaced_video_comes_out_progressive_and_exact() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, woven) = (folder.path().join("plain.mp4"), folder.path().join("woven.ts"));
    StampedVideo::new(SIZE.0, SIZE.1, rate(25, 1), 60).write(&plain).unwrap();
    let x264 = "tff=1:keyint=12:bframes=2";
    ffmpeg(&[
        "-i",
        text(&plain),
        "-vf",
        "setfield=tff",
        "-c:v",
        "libx264",
        "-flags",
        "+ildct+ilme",
        "-x264-params",
        x264,
        text(&woven),
    ]);
    assert!(probe(&woven).unwrap().interlaced);
    expect_exact(&woven, 60, 0);
}

#[test]
fn damaged_frames_are_concealed_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.mkv");
    StampedVideo::new(SIZE.0, SIZE.1, rate(25, 1), 100).write(&path).unwrap();
    let clean = scan(&path).unwrap();
    assert_eq!((clean.frames, clean.warnings.len()), (100, 0), "{:?}", clean.warnings);
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 300].fill(0x55);
    std::fs::write(&path, &bytes).unwrap();
    let report = scan(&path).unwrap();
    assert!(report.frames >= 95, "{}", report.frames);
    assert!(!report.warnings.is_empty());
}
