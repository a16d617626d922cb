//! Smart render: what is not touched stays as it is, what is touched fits in, on footage of many kinds.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::{ffmpeg, ffprobe, rate, rect, text};
use edits::RgbImage;
use media::testing::{StampedVideo, find_clicks, read_sound, read_stamp, write_clicks};
use media::{
    Cropper, FrameDecoder, FrameIndex, SegmentEncoder, SmartLayout, StreamShape, TimedEncoder, TimedSettings,
    VideoSettings, YuvFrame, assemble, build_index, smart_layout, splice,
};
use openh264::OpenH264API;
use openh264::decoder::{DecodedYUV, Decoder, DecoderConfig, Flush};
use openh264::formats::YUVSource;

const SIZE: (u32, u32) = (320, 180);
const FPS: u32 = 25;

/// Stamped frames without loss, with clicks at whole seconds, for ffmpeg to encode.
fn master(folder: &Path, frames: u32) -> PathBuf {
    let pictures = folder.join("pictures.mp4");
    StampedVideo { gop: 250, ..StampedVideo::new(SIZE.0, SIZE.1, rate(FPS, 1), frames) }.write(&pictures).unwrap();
    let clicks = folder.join("clicks.wav");
    let seconds = frames / FPS;
    write_clicks(&clicks, f64::from(seconds), &(1..seconds).map(f64::from).collect::<Vec<_>>()).unwrap();
    let path = folder.join("master.mov");
    let copied = ["-c:v", "copy", "-c:a", "pcm_s16le"];
    ffmpeg(&[&["-i", text(&pictures), "-i", text(&clicks)], &copied[..], &[text(&path)]].concat());
    path
}

/// Encodes the master with x264 and more options of ffmpeg.
fn source(folder: &Path, name: &str, options: &[&str]) -> PathBuf {
    let master = master(folder, 250);
    let path = folder.join(name);
    let usual = ["-c:v", "libx264", "-threads", "1", "-g", "25", "-sc_threshold", "0", "-c:a", "aac"];
    let tags = ["-metadata", "title=The match", "-metadata:s:a:0", "language=ger"];
    ffmpeg(&[&["-i", text(&master)], &usual[..], options, &tags, &[text(&path)]].concat());
    path
}

/// The packets of one kind of stream: time in hundred-thousandths of a second and a digest of the bytes.
fn packets(path: &Path, kind: &str) -> Vec<(i64, String)> {
    let found = ffprobe(&[
        "-select_streams",
        kind,
        "-show_packets",
        "-show_data_hash",
        "md5",
        "-show_entries",
        "packet=pts_time,data_hash",
        text(path),
    ]);
    let line = |line: &str| {
        let (time, digest) = line.trim_end_matches(',').split_once(',').unwrap();
        ((time.parse::<f64>().unwrap() * 1e5).round() as i64, digest.to_owned())
    };
    // Side data has lines of its own.
    found.lines().filter(|line| line.contains("MD5:") && !line.starts_with(',')).map(line).collect()
}

/// Digests of the decoded frames. Any complaint of the decoder fails this.
fn decoded(path: &Path) -> Vec<String> {
    let hashes = ffmpeg(&["-i", text(path), "-map", "0:v", "-fps_mode", "passthrough", "-f", "framehash", "-"]);
    let lines = String::from_utf8(hashes).unwrap();
    lines.lines().filter(|l| !l.starts_with('#')).map(|l| l.rsplit(',').next().unwrap().to_owned()).collect()
}

/// The luma planes of all frames by Cisco's decoder, with those that an edit list hides.
fn luma_by_openh264(path: &Path) -> Vec<Vec<u8>> {
    let stream =
        ffmpeg(&["-i", text(path), "-map", "0:v", "-c", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "h264", "-"]);
    let mut decoder =
        Decoder::with_api_config(OpenH264API::from_source(), DecoderConfig::new().flush_after_decode(Flush::NoFlush))
            .unwrap();
    let plane = |picture: &DecodedYUV| {
        let ((width, height), stride) = (picture.dimensions(), picture.strides().0);
        picture.y().chunks(stride).take(height).flat_map(|row| row[..width].to_vec()).collect::<Vec<u8>>()
    };
    let mut planes = Vec::new();
    for unit in access_units(&stream) {
        planes.extend(decoder.decode(unit).unwrap().as_ref().map(plane));
    }
    planes.extend(decoder.flush_remaining().unwrap().iter().map(plane));
    planes
}

/// Without what an edit list hides at the start.
fn shown_of(planes: &[Vec<u8>], count: usize) -> &[Vec<u8>] {
    &planes[planes.len().checked_sub(count).expect("every frame comes out")..]
}

fn stamp_of(luma: &[u8]) -> u32 {
    let data = luma.iter().flat_map(|&y| [y; 3]).collect();
    let image = RgbImage { data, ..RgbImage::new(SIZE.0, SIZE.1) };
    read_stamp(&image, SIZE, &rect(0.0, 0.0, f64::from(SIZE.0), f64::from(SIZE.1))).unwrap()
}

/// Cuts a byte stream before each picture's first NAL unit.
fn access_units(stream: &[u8]) -> Vec<&[u8]> {
    let codes = (0..stream.len() - 4).filter(|&at| stream[at..at + 3] == [0, 0, 1]);
    let (mut cuts, mut in_picture) = (vec![0], false);
    for at in codes {
        let (kind, first_slice) = (stream[at + 3] & 31, stream[at + 4] & 0x80 != 0);
        let slice = matches!(kind, 1 | 5);
        if in_picture && (!slice || first_slice) {
            cuts.push(at);
            in_picture = false;
        }
        in_picture |= slice;
    }
    cuts.push(stream.len());
    cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

/// Renders the stretches that `drawn` touches, darker by one, and splices them in.
fn render(
    path: &Path,
    index: &Arc<FrameIndex>,
    layout: &SmartLayout,
    drawn: &[Range<usize>],
    out: &Path,
) -> Vec<Range<usize>> {
    let settings = layout.settings(23, "fast").unwrap();
    let parts = layout.parts(drawn, 60);
    let rendered: Vec<_> = parts
        .iter()
        .map(|frames| {
            let part = out.with_extension(format!("{}.mp4", frames.start));
            encode(path, index, frames.clone(), &settings, &part);
            (frames.clone(), part)
        })
        .collect();
    let spliced = splice(path, index, layout, &rendered, None, out).unwrap();
    let touched: usize = parts.iter().map(|frames| frames.len()).sum();
    assert_eq!((spliced.frames, spliced.copied_frames), (index.len() as u64, (index.len() - touched) as u64));
    parts
}

fn encode(path: &Path, index: &Arc<FrameIndex>, frames: Range<usize>, settings: &TimedSettings, out: &Path) {
    let mut decoder = FrameDecoder::open(path, index.clone(), 1).unwrap();
    let mut encoder = TimedEncoder::create(out, settings).unwrap();
    let mut frame = YuvFrame::default();
    for n in frames {
        decoder.frame(n).unwrap().to_frame(&mut frame).unwrap();
        frame.y.iter_mut().for_each(|luma| *luma -= 1);
        encoder.push(&frame, index.times.pts()[n], false).unwrap();
    }
    encoder.finish().unwrap();
}

fn stamps(path: &Path) -> Vec<u32> {
    let index = Arc::new(build_index(path).unwrap());
    let mut decoder = FrameDecoder::open(path, index.clone(), 1).unwrap();
    let whole = rect(0.0, 0.0, f64::from(SIZE.0), f64::from(SIZE.1));
    let mut cropper = Cropper::new();
    let mut read = |n| read_stamp(&cropper.rgb(&decoder.frame(n).unwrap(), &whole, 0.0, SIZE.0, SIZE.1), SIZE, &whole);
    (0..index.len()).map(|n| read(n).unwrap()).collect()
}

fn start_times(path: &Path) -> Vec<f64> {
    let shown = ffprobe(&["-show_entries", "stream=start_time", text(path)]);
    shown.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect()
}

/// Everything that smart render promises of one source; `touched` are the stretches that `drawn` must cost.
fn holds(path: &Path, drawn: Range<usize>, touched: Range<usize>) {
    let index = Arc::new(build_index(path).unwrap());
    let layout = smart_layout(path, &index).unwrap();
    let out = path.with_file_name("spliced.mp4");
    let parts = render(path, &index, &layout, &[drawn], &out);
    assert_eq!((parts.first().unwrap().start, parts.last().unwrap().end), (touched.start, touched.end));

    let (before, after) = (packets(path, "v"), packets(&out, "v"));
    let outside = |all: &[(i64, String)]| {
        let shown = |n: usize| (index.times.seconds(n) + index.start()) * 100_000;
        // A first stretch loses what an edit list hid before it.
        let from = if touched.start > 0 { shown(touched.start).round().to_integer() as i64 } else { i64::MIN };
        let to = if touched.end < index.len() { shown(touched.end).round().to_integer() as i64 } else { i64::MAX };
        all.iter().filter(|(time, _)| !(from..to).contains(time)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(outside(&before), outside(&after), "packets outside the stretches");
    assert_eq!(packets(path, "a"), packets(&out, "a"), "sound packets");

    let (before, after) = (decoded(path), decoded(&out));
    assert_eq!(before.len(), after.len());
    for (n, (before, after)) in before.iter().zip(&after).enumerate() {
        assert_eq!(before == after, !touched.contains(&n), "frame {n}");
    }
    assert_eq!(stamps(path), stamps(&out));
    // Cisco's decoder does not give B-frames bit for bit as the standard says, so it is compared with itself.
    let (before, after) = (luma_by_openh264(path), luma_by_openh264(&out));
    let (before, after) = (shown_of(&before, index.len()), shown_of(&after, index.len()));
    for (n, (before, after)) in before.iter().zip(after).enumerate() {
        assert_eq!(before == after, !touched.contains(&n), "frame {n} by openh264");
        assert_eq!(stamp_of(before), stamp_of(after), "frame {n} by openh264");
    }
    assert!(start_times(path).iter().zip(start_times(&out)).all(|(a, b)| (a - b).abs() < 1e-4));

    let decoding = ffprobe(&["-select_streams", "v", "-show_entries", "packet=dts", text(&out)]);
    let decoding: Vec<i64> = decoding.lines().map(|l| l.trim_end_matches(',').parse().unwrap()).collect();
    assert!(decoding.is_sorted_by(|a, b| a < b), "decoding times rise");
    let clicks = |path: &Path| find_clicks(&read_sound(path, index.start(), 9 * 48_000).unwrap());
    let (before, after) = (clicks(path), clicks(&out));
    assert_eq!(before.len(), after.len());
    assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() < 1e-4));
    let shown = ffprobe(&["-show_entries", "format_tags=title:stream_tags=language", text(&out)]);
    assert!(shown.contains("The match") && shown.contains("ger"), "{shown}");
}

#[test]
fn x264_with_b_frames_and_pyramid() {
    let folder = tempfile::tempdir().unwrap();
    holds(&source(folder.path(), "source.mp4", &[]), 80..130, 75..150);
}

#[test]
fn no_b_frames_and_baseline() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["-profile:v", "baseline", "-preset", "ultrafast"];
    holds(&source(folder.path(), "source.mp4", &options), 0..10, 0..25);
}

#[test]
fn a_camera_with_one_reference_frame() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["-profile:v", "main", "-x264-params", "ref=1:bframes=1:b-pyramid=none:slices=4"];
    holds(&source(folder.path(), "source.mp4", &options), 249..250, 225..250);
}

#[test]
fn open_groups_are_rendered_from_idr_to_idr() {
    let folder = tempfile::tempdir().unwrap();
    // Key frames every second, every other of them no IDR.
    let options = ["-x264-params", "open-gop=1", "-force_key_frames", "expr:gte(t,n_forced*4)", "-forced-idr", "1"];
    let path = source(folder.path(), "source.mp4", &options);
    let index = Arc::new(build_index(&path).unwrap());
    let layout = smart_layout(&path, &index).unwrap();
    let stretches: Vec<_> = layout.stretches().collect();
    assert_eq!(stretches, [0..100, 100..200, 200..250]);
    assert!(index.keyframes.len() > 3, "{:?}", index.keyframes);
    holds(&path, 130..135, 100..200);
}

#[test]
fn matroska_and_its_milliseconds() {
    let folder = tempfile::tempdir().unwrap();
    holds(&source(folder.path(), "source.mkv", &["-r", "30000/1001"]), 80..130, 75..150);
}

#[test]
fn a_mov_file_whose_edit_list_hides_its_start() {
    let folder = tempfile::tempdir().unwrap();
    let whole = source(folder.path(), "whole.mp4", &[]);
    let path = folder.path().join("source.mov");
    ffmpeg(&["-ss", "1.4", "-i", text(&whole), "-c", "copy", text(&path)]);
    let index = build_index(&path).unwrap();
    assert_eq!(index.len(), 215);
    holds(&path, 20..60, 15..65);
    holds(&path, 0..1, 0..15);
}

#[test]
fn variable_frame_rate() {
    let folder = tempfile::tempdir().unwrap();
    let options = ["-vf", "select=not(eq(mod(n\\,7)\\,3))", "-fps_mode", "vfr", "-enc_time_base", "1/90000"];
    let path = source(folder.path(), "source.mp4", &options);
    let index = build_index(&path).unwrap();
    let keys = &index.keyframes;
    holds(&path, keys[3] + 5..keys[4] + 3, keys[3]..keys[5]);
}

#[test]
fn several_stretches_and_a_second_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = source(folder.path(), "source.mp4", &[]);
    let index = Arc::new(build_index(&path).unwrap());
    let layout = smart_layout(&path, &index).unwrap();
    let first = folder.path().join("first.mp4");
    let parts = render(&path, &index, &layout, &[0..5, 60..61, 110..160, 240..250], &first);
    assert_eq!(parts, [0..25, 50..75, 100..150, 150..175, 225..250]);
    assert_eq!(stamps(&first), (0..250).collect::<Vec<_>>());
    // The second time, the parameter sets of the first are there already.
    holds(&first, 30..60, 25..75);
}

#[test]
fn own_exports_share_their_parameter_sets() {
    let folder = tempfile::tempdir().unwrap();
    let master = master(folder.path(), 100);
    let index = Arc::new(build_index(&master).unwrap());
    let mut decoder = FrameDecoder::open(&master, index, 1).unwrap();
    let settings =
        VideoSettings { width: SIZE.0, height: SIZE.1, rate: rate(FPS, 1), gop: FPS, crf: 23, preset: "fast".into() };
    let segments: Vec<PathBuf> = (0..2)
        .map(|n| {
            let path = folder.path().join(format!("segment{n}.mp4"));
            let mut encoder = SegmentEncoder::create(&path, &settings).unwrap();
            let mut frame = YuvFrame::default();
            for number in n * 50..(n + 1) * 50 {
                decoder.frame(number).unwrap().to_frame(&mut frame).unwrap();
                encoder.push(&frame).unwrap();
            }
            encoder.finish().unwrap();
            path
        })
        .collect();
    let path = folder.path().join("reel.mp4");
    assemble(&segments, None, &settings, &[], false, &path).unwrap();

    let index = Arc::new(build_index(&path).unwrap());
    let layout = smart_layout(&path, &index).unwrap();
    let out = folder.path().join("out.mp4");
    let parts = render(&path, &index, &layout, &[30..40, 60..70], &out);
    assert_eq!((parts.len(), parts[0].clone()), (1, 25..75));
    let header = |path| ffprobe(&["-select_streams", "v", "-show_entries", "stream=extradata_size", text(path)]);
    assert_eq!(header(&path), header(&out), "no parameter set was added");
    assert_eq!(decoded(&out).len(), 100);
    assert_eq!(stamps(&out), (0..100).collect::<Vec<_>>());
}

#[test]
fn what_cannot_be_matched_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let why = |name: &str, options: &[&str]| {
        let path = source(folder.path(), name, options);
        smart_layout(&path, &build_index(&path).unwrap()).unwrap_err()
    };
    assert!(why("a.mp4", &["-pix_fmt", "yuv420p10le"]).contains("8-bit"));
    assert!(why("b.mp4", &["-pix_fmt", "yuv422p"]).contains("4:2:0"));
    assert!(why("c.mp4", &["-flags", "+ildct+ilme"]).contains("interlaced"));
    assert!(why("d.ts", &[]).contains("header"));
    assert!(why("e.mp4", &["-c:v", "mpeg4"]).contains("mpeg4"));
    assert!(why("g.mp4", &["-vf", "setsar=4/3"]).contains("square"));
    // Its sound is encoded.
    let pcm = source(folder.path(), "f.mov", &["-c:a", "pcm_s16le"]);
    assert!(smart_layout(&pcm, &build_index(&pcm).unwrap()).is_ok());
}

#[test]
fn parts_that_do_not_fit_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = source(folder.path(), "source.mp4", &[]);
    let index = Arc::new(build_index(&path).unwrap());
    let layout = smart_layout(&path, &index).unwrap();
    let settings = layout.settings(23, "fast").unwrap();
    let (part, out) = (folder.path().join("part.mp4"), folder.path().join("out.mp4"));
    encode(&path, &index, 25..49, &settings, &part);
    assert!(splice(&path, &index, &layout, &[(25..50, part.clone())], None, &out).is_err(), "a frame is missing");
    assert!(splice(&path, &index, &layout, &[(25..49, part.clone())], None, &out).is_err(), "not a whole stretch");
    let shape = StreamShape::read(&path, &index).unwrap();
    encode(&path, &index, 25..50, &TimedSettings::of(&shape, 23, "fast"), &part);
    assert!(splice(&path, &index, &layout, &[(25..50, part)], None, &out).is_err(), "parameter sets clash");
    assert!(!out.exists());
}
