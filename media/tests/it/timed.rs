//! Encoding with the source's own frame times, and joins of such parts.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::{ffmpeg, ffprobe, rect, text};
use edits::Rat;
use media::testing::{StampedVideo, find_clicks, read_sound, read_stamp, write_clicks};
use media::{
    Assembly, AudioFrom, Chapter, Cropper, FrameDecoder, FrameIndex, StreamShape, TimedEncoder, TimedPart,
    TimedSettings, YuvFrame, assemble_timed, build_index,
};

const SIZE: (u32, u32) = (256, 144);

/// A video whose frames come at uneven times, 33 ms apart on average, with clicks at whole seconds and a title.
fn source(folder: &Path, name: &str) -> (PathBuf, Arc<FrameIndex>) {
    let milliseconds: Vec<i64> = (0..130).map(|n| n * 33 + (n * 7) % 20).collect();
    let pictures = folder.join("pictures.mp4");
    StampedVideo::at_milliseconds(SIZE.0, SIZE.1, milliseconds).write(&pictures).unwrap();
    let clicks = folder.join("clicks.wav");
    write_clicks(&clicks, 4.3, &[1.0, 2.0, 3.0]).unwrap();
    let path = folder.join(name);
    let copied = ["-c:v", "copy", "-c:a", "aac", "-metadata", "title=The match", "-metadata:s:a:0", "language=ger"];
    ffmpeg(&[&["-i", text(&pictures), "-i", text(&clicks)], &copied[..], &[text(&path)]].concat());
    let index = Arc::new(build_index(&path).unwrap());
    assert_eq!(index.len(), 130);
    (path, index)
}

fn encode(path: &Path, index: &Arc<FrameIndex>, frames: Range<usize>, out: &Path) -> TimedPart {
    let shape = StreamShape::read(path, index).unwrap();
    assert_eq!((shape.not_plain.as_deref(), shape.width, shape.height), (None, SIZE.0, SIZE.1));
    let mut encoder = TimedEncoder::create(out, &TimedSettings::of(&shape, 20, "fast")).unwrap();
    let mut decoder = FrameDecoder::open(path, index.clone(), 1).unwrap();
    let mut frame = YuvFrame::default();
    for n in frames.clone() {
        decoder.frame(n).unwrap().to_frame(&mut frame).unwrap();
        encoder.push(&frame, index.times.pts()[n], false).unwrap();
    }
    assert_eq!(encoder.finish().unwrap().frames, frames.len() as u64);
    let pts = index.times.pts();
    let end = pts.get(frames.end).copied().unwrap_or(index.times.end());
    TimedPart { path: out.to_owned(), offset: pts[frames.start] - pts[0], end: end - pts[0] }
}

fn assert_stamps(path: &Path, numbers: impl Iterator<Item = u32>) -> Arc<FrameIndex> {
    let index = Arc::new(build_index(path).unwrap());
    let mut decoder = FrameDecoder::open(path, index.clone(), 1).unwrap();
    let whole = rect(0.0, 0.0, f64::from(SIZE.0), f64::from(SIZE.1));
    let mut cropper = Cropper::new();
    let seen: Vec<_> = (0..index.len())
        .map(|n| read_stamp(&cropper.rgb(&decoder.frame(n).unwrap(), &whole, 0.0, SIZE.0, SIZE.1), SIZE, &whole))
        .collect();
    assert_eq!(seen, numbers.map(Some).collect::<Vec<_>>());
    assert_eq!(decoder.warnings(), 0);
    index
}

#[test]
fn frame_times_sound_and_tags_of_a_source_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["source.mp4", "source.mkv"] {
        let (path, index) = source(folder.path(), name);
        let cuts = [0..50, 50..51, 51..130];
        let parts: Vec<_> = (0..)
            .zip(cuts)
            .map(|(n, cut)| encode(&path, &index, cut, &folder.path().join(format!("{n}.mp4"))))
            .collect();
        let out = folder.path().join("out.mp4");
        let shape = StreamShape::read(&path, &index).unwrap();
        let chapters = [
            Chapter { name: "One".into(), start: Rat::from(0), end: Rat::new(3, 2) },
            Chapter { name: "Zwei & drei".into(), start: Rat::new(3, 2), end: Rat::from(4) },
        ];
        let assembly = Assembly {
            time_base: shape.time_base,
            rate: shape.rate,
            audio: AudioFrom::CopyOf { source: &path, start: index.start() },
            chapters: &chapters,
            tags_of: Some(&path),
            simulated: false,
        };
        assert_eq!(assemble_timed(&parts, &assembly, &out).unwrap().frames, 130);

        let joined = assert_stamps(&out, 0..130);
        for n in 0..130 {
            assert_eq!(joined.times.seconds(n) - joined.times.seconds(0), index.times.seconds(n), "{name} frame {n}");
        }
        assert_eq!(joined.start(), Rat::from(0), "{name}");
        assert!(
            joined
                .keyframes
                .windows(2)
                .all(|pair| { joined.times.seconds(pair[1]) - joined.times.seconds(pair[0]) < Rat::new(11, 10) })
        );
        let clicks = find_clicks(&read_sound(&out, joined.start(), 4 * 48_000).unwrap());
        assert_eq!(clicks.len(), 3, "{name}: {clicks:?}");
        assert!(clicks.iter().zip(1..).all(|(click, second)| (click - f64::from(second)).abs() < 0.002), "{clicks:?}");
        let shown = ffprobe(&["-show_chapters", "-show_entries", "format_tags=title:stream_tags=language", text(&out)]);
        for fact in ["The match", "ger", "One", "Zwei & drei", "1.500000"] {
            assert!(shown.contains(fact), "{name}: {shown}");
        }
        ffmpeg(&["-err_detect", "explode", "-i", text(&out), "-f", "null", "-"]);
    }
}

#[test]
fn equal_pictures_give_equal_parts() {
    let folder = tempfile::tempdir().unwrap();
    let (path, index) = source(folder.path(), "source.mp4");
    let (a, b) = (folder.path().join("a.mp4"), folder.path().join("b.mp4"));
    std::thread::scope(|scope| {
        scope.spawn(|| encode(&path, &index, 10..90, &a));
        scope.spawn(|| encode(&path, &index, 10..90, &b));
    });
    assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
}

#[test]
fn parts_that_do_not_follow_each_other_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (path, index) = source(folder.path(), "source.mp4");
    let first = encode(&path, &index, 0..40, &folder.path().join("first.mp4"));
    let second = encode(&path, &index, 30..60, &folder.path().join("second.mp4"));
    let shape = StreamShape::read(&path, &index).unwrap();
    let assembly = Assembly {
        time_base: shape.time_base,
        rate: shape.rate,
        audio: AudioFrom::None,
        chapters: &[],
        tags_of: None,
        simulated: true,
    };
    let out = folder.path().join("out.mp4");
    assert!(assemble_timed(&[first.clone(), second.clone()], &assembly, &out).is_err(), "they overlap");
    assert!(assemble_timed(&[], &assembly, &out).is_err());
    assert!(!out.exists());
    let moved = TimedPart { offset: first.end + 90, end: first.end + 90 + second.end - second.offset, ..second };
    assert_eq!(assemble_timed(&[first, moved], &assembly, &out).unwrap().frames, 70);
    assert_stamps(&out, (0..40).chain(30..60));
    assert!(ffprobe(&["-show_entries", "format_tags=comment", text(&out)]).contains("simulated"));
}
