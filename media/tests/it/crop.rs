//! A marker stays where the crop path puts it.

use std::sync::Arc;

use crate::common::{ffmpeg, lossless, rect, text};
use edits::CropRect;
use media::{Cropper, FrameDecoder, build_index, probe};

const SIZE: (usize, usize) = (640, 360);
/// Standard deviation of the marker, in source pixels.
const SIGMA: f64 = 4.0;

/// Where the marker is in frame `n`, in source pixels.
fn marker(n: usize) -> (f64, f64) {
    let t = n as f64;
    (300.0 + 3.37 * t, 180.0 + 40.0 * (t / 7.0).sin())
}

/// Where the crop is in frame `n`: following, but not exactly.
fn path(n: usize, height: f64) -> CropRect {
    let (x, y) = marker(n);
    let drift = (n as f64 * 0.9).sin() * 6.3;
    let height = height * (1.0 + 0.01 * n as f64);
    let width = height * 0.75;
    rect(x - width / 2.0 + drift, y - height / 2.0 - drift * 0.7, width, height)
}

fn blob(x: f64, y: f64, at: (f64, f64)) -> f64 {
    let square = (x - at.0).powi(2) + (y - at.1).powi(2);
    (-square / (2.0 * SIGMA * SIGMA)).exp()
}

/// A bright reddish blob on grey; chroma sits on the left sample of each pair.
fn frame(at: (f64, f64)) -> Vec<u8> {
    let (width, height) = SIZE;
    let luma = (0..width * height).map(|i| {
        let value = blob((i % width) as f64 + 0.5, (i / width) as f64 + 0.5, at);
        (60.0 + 150.0 * value).round() as u8
    });
    let chroma = |gain: f64| {
        (0..width * height / 4).map(move |i| {
            let (x, y) = (i % (width / 2), i / (width / 2));
            let value = blob(2.0 * x as f64 + 0.5, 2.0 * y as f64 + 1.0, at);
            (128.0 + gain * value).round() as u8
        })
    };
    luma.chain(chroma(-60.0)).chain(chroma(90.0)).collect()
}

/// Centre of what differs from the background, in samples (edges on whole numbers).
fn centroid(plane: &[u8], width: usize, background: f64) -> (f64, f64) {
    let (mut sum, mut x, mut y) = (0.0, 0.0, 0.0);
    for (i, &value) in plane.iter().enumerate() {
        let weight = f64::from(value) - background;
        sum += weight;
        x += weight * ((i % width) as f64 + 0.5);
        y += weight * ((i / width) as f64 + 0.5);
    }
    (x / sum, y / sum)
}

fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
    (a.0 - b.0).abs().max((a.1 - b.1).abs())
}

#[test]
fn marker_follows_the_crop_path() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("marker.mkv");
    let frames: Vec<_> = (0..30).map(|n| frame(marker(n))).collect();
    lossless(&source, SIZE, &frames, &["-colorspace", "bt709", "-color_range", "tv"]);
    let index = Arc::new(build_index(&source).unwrap());
    let mut decoder = FrameDecoder::open(&source, index, 1).unwrap();
    let mut cropper = Cropper::new();
    // Zooms from a quarter to four.
    for (crop_height, height) in [(240.0, 60u32), (240.0, 160), (160.0, 160), (120.0, 200), (100.0, 266), (100.0, 400)]
    {
        let width = height * 3 / 4 / 2 * 2;
        let mut worst = [0.0f64; 3];
        for n in 0..30 {
            let picture = decoder.frame(n).unwrap();
            let crop = path(n, crop_height);
            let (scale_x, scale_y) = (f64::from(width) / crop.width, f64::from(height) / crop.height);
            let (x, y) = marker(n);
            let due = ((x - crop.x) * scale_x, (y - crop.y) * scale_y);
            let yuv = cropper.yuv(&picture, &crop, 0.0, width, height);
            worst[0] = worst[0].max(distance(centroid(&yuv.y, width as usize, 60.0), due));
            let (cx, cy) = centroid(&yuv.v, width as usize / 2, 128.0);
            worst[1] = worst[1].max(distance((cx * 2.0 - 0.5, cy * 2.0), due));
            let rgb = cropper.rgb(&picture, &crop, 0.0, width, height);
            let red: Vec<u8> = rgb.data.iter().step_by(3).copied().collect();
            let background = f64::from(red[0]);
            worst[2] = worst[2].max(distance(centroid(&red, width as usize, background), due));
        }
        println!("zoom {:.2}: off by {worst:.3?} output pixels (Y, Cr, red)", f64::from(height) / crop_height);
        assert!(worst.iter().all(|&d| d < 0.25), "{crop_height} to {height}: {worst:?}");
    }
}

#[test]
fn rotation_is_counter_clockwise_about_the_centre() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("marker.mkv");
    let at = (420.0, 150.0);
    lossless(&source, SIZE, &[frame(at)], &["-colorspace", "bt709", "-color_range", "tv"]);
    let index = Arc::new(build_index(&source).unwrap());
    let picture = FrameDecoder::open(&source, index, 1).unwrap().frame(0).unwrap();
    let mut cropper = Cropper::new();
    for degrees in [-30.0f64, -5.0, 0.5, 12.0, 45.0] {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (x, y) = (at.0 - 320.0, at.1 - 180.0);
        let turned = (320.0 + x * cos + y * sin, 180.0 - x * sin + y * cos);
        let crop = rect(turned.0 - 40.3, turned.1 - 55.7, 90.0, 120.0);
        let yuv = cropper.yuv(&picture, &crop, degrees, 180, 240);
        let due = ((turned.0 - crop.x) * 2.0, (turned.1 - crop.y) * 2.0);
        let luma = distance(centroid(&yuv.y, 180, 60.0), due);
        let (cx, cy) = centroid(&yuv.v, 90, 128.0);
        let chroma = distance((cx * 2.0 - 0.5, cy * 2.0), due);
        assert!(luma < 0.25 && chroma < 0.25, "{degrees} degrees: {luma} {chroma}");
    }
    // The corners that a turn leaves open are black.
    let yuv = cropper.yuv(&picture, &rect(0.0, 0.0, 64.0, 36.0), 20.0, 64, 36);
    assert_eq!((yuv.y[0], yuv.u[0], yuv.v[0]), (16, 128, 128));
}

#[test]
fn crops_at_every_edge_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("plain.mkv");
    let (width, height) = (101, 75);
    let chroma = 51 * 38;
    let frame = [vec![180; width * height], vec![100; chroma], vec![150; chroma]].concat();
    lossless(&source, (width, height), &[frame], &["-colorspace", "bt709", "-color_range", "tv"]);
    let index = Arc::new(build_index(&source).unwrap());
    let picture = FrameDecoder::open(&source, index, 1).unwrap().frame(0).unwrap();
    let mut cropper = Cropper::new();
    let (w, h) = (width as f64, height as f64);
    for crop in [
        rect(0.0, 0.0, w, h),
        rect(0.0, 0.0, 4.0, 4.0),
        rect(w - 4.0, h - 4.0, 4.0, 4.0),
        rect(w - 40.6, 0.0, 40.6, 60.2),
        rect(-0.3, h - 20.0, 20.0, 20.0),
    ] {
        for side in [2, 16, 200] {
            let yuv = cropper.yuv(&picture, &crop, 0.0, side, side);
            assert!(yuv.y.iter().all(|&v| v == 180) && yuv.u.iter().all(|&v| v == 100), "{crop:?} to {side}");
            assert!(yuv.v.iter().all(|&v| v == 150), "{crop:?} to {side}");
        }
    }
}

/// Every way a stored picture can lie, and pixels that are not square: the marker is where a player shows it.
#[test]
fn turned_and_anamorphic_sources_are_shown_as_players_do() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain.mkv");
    let at = (420.0, 150.0);
    lossless(&plain, SIZE, &[frame(at), frame(at)], &["-colorspace", "bt709", "-color_range", "tv"]);
    let x264 = ["-c:v", "libx264", "-crf", "4", "-preset", "veryfast"];
    let upright = folder.path().join("upright.mp4");
    ffmpeg(&[&["-i", text(&plain)], &x264[..], &[text(&upright)]].concat());
    for (rotate, size, due) in [
        // This tag of the ffmpeg program counts counter-clockwise.
        ("90", (360, 640), (150.0, 640.0 - 420.0)),
        ("180", (640, 360), (640.0 - 420.0, 360.0 - 150.0)),
        ("270", (360, 640), (360.0 - 150.0, 420.0)),
    ] {
        let turned = folder.path().join(format!("{rotate}.mp4"));
        let tag = format!("rotate={rotate}");
        ffmpeg(&["-i", text(&upright), "-c", "copy", "-metadata:s:v:0", &tag, text(&turned)]);
        let facts = probe(&turned).unwrap();
        assert_eq!((facts.width, facts.height), size, "{rotate}");
        expect_marker(&turned, due, rotate);
    }
    let wide = folder.path().join("wide.mp4");
    ffmpeg(&[&["-i", text(&plain), "-vf", "setsar=4/3"], &x264[..], &[text(&wide)]].concat());
    assert_eq!(probe(&wide).unwrap().width, 853);
    expect_marker(&wide, (420.0 * 853.0 / 640.0, 150.0), "sample aspect ratio 4:3");
}

#[test]
fn deep_and_rgb_sources_become_8_bit_planar() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain.mkv");
    let at = (420.0, 150.0);
    lossless(&plain, SIZE, &[frame(at)], &["-colorspace", "bt709", "-color_range", "tv"]);
    for format in ["yuv420p10le", "yuv422p10le", "yuv444p", "nv12", "bgr0", "yuv411p"] {
        let path = folder.path().join(format!("{format}.nut"));
        let codec = if format == "yuv420p10le" { "ffv1" } else { "rawvideo" };
        ffmpeg(&["-i", text(&plain), "-pix_fmt", format, "-c:v", codec, text(&path)]);
        expect_marker(&path, at, format);
    }
}

/// Chroma may be half a source pixel off: the ffmpeg program, which made the source, took its chroma as centred.
fn expect_marker(path: &std::path::Path, due: (f64, f64), what: &str) {
    let index = Arc::new(build_index(path).unwrap());
    let picture = FrameDecoder::open(path, index, 1).unwrap().frame(0).unwrap();
    let crop = rect(due.0 - 50.0, due.1 - 40.0, 100.0, 80.0);
    let yuv = Cropper::new().yuv(&picture, &crop, 0.0, 200, 160);
    let luma = centroid(&yuv.y, 200, 60.0);
    let (cx, cy) = centroid(&yuv.v, 100, 128.0);
    assert!(distance(luma, (100.0, 80.0)) < 0.5, "{what}: luma at {luma:?}");
    assert!(distance((cx * 2.0 - 0.5, cy * 2.0), (100.0, 80.0)) < 1.25, "{what}: chroma at {cx} {cy}");
}
