//! Segments: equal bytes, closed groups of pictures, and joins that cannot be seen.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::common::{ffmpeg, ffprobe, rate, rect, text};
use media::testing::{StampedVideo, read_stamp};
use media::{Cropper, FrameDecoder, Picture, SegmentEncoder, VideoSettings, assemble, build_index};

const SIZE: (u32, u32) = (256, 144);

fn settings() -> VideoSettings {
    VideoSettings { width: 144, height: 256, rate: rate(30, 1), gop: 30, crf: 23, preset: "fast".into() }
}

fn pictures(folder: &Path, count: u32) -> Vec<Arc<Picture>> {
    let path = folder.join("source.mp4");
    StampedVideo::new(SIZE.0, SIZE.1, rate(30, 1), count).write(&path).unwrap();
    let index = Arc::new(build_index(&path).unwrap());
    let mut decoder = FrameDecoder::open(&path, index, 1).unwrap();
    (0..count as usize).map(|n| decoder.frame(n).unwrap()).collect()
}

fn encode(path: &Path, pictures: &[Arc<Picture>]) -> u64 {
    let mut cropper = Cropper::new();
    let mut encoder = SegmentEncoder::create(path, &settings()).unwrap();
    for picture in pictures {
        let crop = rect(87.5, 0.0, 81.0, 144.0);
        encoder.push(&cropper.yuv(picture, &crop, 0.0, 144, 256)).unwrap();
    }
    encoder.finish().unwrap().frames
}

/// Numbers of the IDR pictures (NAL unit type 5) among all pictures of an H.264 byte stream, in decoding order.
fn idr_pictures(stream: &[u8]) -> Vec<usize> {
    let units = stream.windows(4).filter(|w| w[..3] == [0, 0, 1]).map(|w| w[3] & 31);
    let pictures = units.filter(|kind| matches!(kind, 1 | 5));
    pictures.enumerate().filter(|&(_, kind)| kind == 5).map(|(n, _)| n).collect()
}

#[test]
fn same_pictures_give_same_bytes_and_idr_frames_at_every_gop() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = pictures(folder.path(), 100);
    let (a, b) = (folder.path().join("a.mp4"), folder.path().join("b.mp4"));
    assert_eq!(encode(&a, &pictures), 100);
    std::thread::scope(|scope| {
        scope.spawn(|| encode(&b, &pictures));
        scope.spawn(|| encode(&folder.path().join("c.mp4"), &pictures));
    });
    assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
    assert_eq!(build_index(&a).unwrap().keyframes, [0, 30, 60, 90]);
    let stream = ffmpeg(&["-i", text(&a), "-c", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "h264", "-"]);
    assert_eq!(idr_pictures(&stream), [0, 30, 60, 90], "IDR pictures in decoding order");
    let tags = "stream=color_range,color_space,color_transfer,color_primaries,chroma_location,has_b_frames";
    let tags = ffprobe(&["-select_streams", "v", "-show_entries", tags, text(&a)]);
    assert!(tags.contains("tv,bt709,bt709,bt709,left"), "{tags}");
}

#[test]
fn joined_segments_play_through() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = pictures(folder.path(), 170);
    let cuts = [0..60, 60..120, 120..121, 121..150, 150..152, 152..170];
    let segments: Vec<PathBuf> = cuts
        .iter()
        .enumerate()
        .map(|(n, cut)| {
            let path = folder.path().join(format!("{n}.mp4"));
            encode(&path, &pictures[cut.clone()]);
            path
        })
        .collect();
    let out = folder.path().join("reel.mp4");
    let joined = assemble(&segments, None, &settings(), &[], true, &out).unwrap();
    assert_eq!(joined.frames, 170);
    assert_eq!(joined.bytes, std::fs::metadata(&out).unwrap().len());

    let index = Arc::new(build_index(&out).unwrap());
    assert_eq!(index.len(), 170);
    assert_eq!(index.keyframes, [0, 30, 60, 90, 120, 121, 150, 152]);
    assert!((0..170).all(|n| index.times.seconds(n) == edits::Rat::new(n as i128, 30)));
    let mut decoder = FrameDecoder::open(&out, index, 1).unwrap();
    let mut cropper = Cropper::new();
    for n in 0..170 {
        let image = cropper.rgb(&decoder.frame(n).unwrap(), &rect(0.0, 0.0, 144.0, 256.0), 0.0, 144, 256);
        assert_eq!(read_stamp(&image, SIZE, &rect(87.5, 0.0, 81.0, 144.0)), Some(n as u32));
    }
    assert_eq!(decoder.warnings(), 0);

    let packets = ffprobe(&["-select_streams", "v", "-show_entries", "packet=dts,pts", text(&out)]);
    let dts: Vec<i64> = packets.lines().map(|l| l.split(',').nth(1).unwrap().parse().unwrap()).collect();
    assert!(dts.is_sorted_by(|a, b| a < b));
    // Any complaint of the decoder fails this.
    ffmpeg(&["-err_detect", "explode", "-i", text(&out), "-f", "null", "-"]);
    assert!(ffprobe(&["-show_entries", "format_tags=comment", text(&out)]).contains("simulated"));
    let bytes = std::fs::read(&out).unwrap();
    let place = |name: &[u8]| bytes.windows(4).position(|w| w == name).unwrap();
    assert!(place(b"moov") < place(b"mdat"), "the header comes first");
}

#[test]
fn failures_leave_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = pictures(folder.path(), 5);
    let dropped = folder.path().join("dropped.mp4");
    let mut encoder = SegmentEncoder::create(&dropped, &settings()).unwrap();
    let yuv = Cropper::new().yuv(&pictures[0], &rect(0.0, 0.0, 81.0, 144.0), 0.0, 144, 256);
    encoder.push(&yuv).unwrap();
    assert!(encoder.push(&media::YuvFrame::new(64, 64)).is_err());
    drop(encoder);
    assert!(!dropped.exists());
    let empty = folder.path().join("empty.mp4");
    assert!(SegmentEncoder::create(&empty, &settings()).unwrap().finish().is_err());
    assert!(!empty.exists());
    assert!(SegmentEncoder::create(&folder.path().join("no/such/folder.mp4"), &settings()).is_err());

    let good = folder.path().join("good.mp4");
    encode(&good, &pictures);
    let other = folder.path().join("other.mp4");
    let mut encoder =
        SegmentEncoder::create(&other, &VideoSettings { crf: 30, preset: "medium".into(), ..settings() }).unwrap();
    encoder.push(&yuv).unwrap();
    encoder.finish().unwrap();
    let out = folder.path().join("out.mp4");
    let damaged = folder.path().join("damaged.mp4");
    let bytes = std::fs::read(&good).unwrap();
    std::fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    for bad in [&damaged, &other, &folder.path().join("missing.mp4")] {
        assert!(assemble(&[good.clone(), bad.clone()], None, &settings(), &[], false, &out).is_err(), "{bad:?}");
        assert!(!out.exists());
    }
}
