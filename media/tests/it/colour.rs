//! Colours of the Lanczos path against zscale's, before encoding.

use std::path::Path;
use std::sync::Arc;

use crate::common::{ffmpeg, lossless, rect, text};
use media::{Cropper, FrameDecoder, Matrix, Picture, Range, YuvFrame, build_index};

const SIZE: (usize, usize) = (1280, 720);
/// The part that is cut out; its left edge is also that of the first bar.
const CROP: (usize, usize, usize, usize) = (200, 0, 720, 720);
const BAR: usize = 90;
const BAND: usize = 240;

/// Three bands: coloured bars, a ramp of luma, and ramps of both chroma components.
fn pattern(full: bool) -> Vec<u8> {
    let (low, high) = if full { (0, 255) } else { (16, 235) };
    let bars = [
        (high, 128, 128),
        (170, 60, 140),
        (140, 150, 60),
        (120, 60, 70),
        (100, 190, 190),
        (80, 110, 210),
        (60, 210, 110),
        (low, 128, 128),
    ];
    let at = |x: usize, y: usize| -> (u8, u8, u8) {
        let x = x.clamp(CROP.0, CROP.0 + CROP.2 - 1) - CROP.0;
        let along = x as f64 / CROP.2 as f64;
        match y / BAND {
            0 => bars[x / BAR],
            1 => ((f64::from(low) + along * f64::from(high - low)).round() as u8, 128, 128),
            _ => (120, (90.0 + along * 76.0).round() as u8, (166.0 - along * 76.0).round() as u8),
        }
    };
    let (width, height) = SIZE;
    let luma = (0..width * height).map(|i| at(i % width, i / width).0);
    let chroma = |pick: fn((u8, u8, u8)) -> u8| {
        (0..width * height / 4).map(move |i| pick(at(i % (width / 2) * 2, i / (width / 2) * 2)))
    };
    luma.chain(chroma(|c| c.1)).chain(chroma(|c| c.2)).collect()
}

/// Whether a sample of an output plane lies at least 8 output pixels from every edge of the pattern.
fn is_flat(x: usize, y: usize, side: usize, step: usize) -> bool {
    let to_source = CROP.2 as f64 / side as f64;
    let margin = 8.0 * to_source.max(1.0);
    let far = |at: f64, period: usize| {
        let phase = at % period as f64;
        phase > margin && phase < period as f64 - margin
    };
    let (x, y) = ((x * step) as f64 * to_source, (y * step) as f64 * to_source);
    let inside = x > margin && x < CROP.2 as f64 - margin;
    inside && far(y, BAND) && (y > BAND as f64 || far(x, BAR))
}

fn by_zscale(path: &Path, side: usize, matrix: &str, range: &str) -> Vec<u8> {
    let filter = format!(
        "crop={}:{}:{}:{},zscale=w={side}:h={side}:filter=lanczos:matrixin={matrix}:rangein={range}:chromalin=left\
         :matrix=709:range=limited:chromal=left,format=yuv420p",
        CROP.2, CROP.3, CROP.0, CROP.1
    );
    ffmpeg(&["-i", text(path), "-vf", &filter, "-f", "rawvideo", "-frames:v", "1", "-"])
}

fn first_picture(path: &Path) -> Arc<Picture> {
    let index = Arc::new(build_index(path).unwrap());
    FrameDecoder::open(path, index, 1).unwrap().frame(0).unwrap()
}

/// The largest difference in flat parts, of each plane.
fn worst(frame: &YuvFrame, reference: &[u8], side: usize) -> [u8; 3] {
    let half = side / 2;
    let (luma, chroma) = reference.split_at(side * side);
    let (cb, cr) = chroma.split_at(half * half);
    let compare = |own: &[u8], other: &[u8], width: usize, step: usize| {
        let flat = (0..own.len()).filter(|i| is_flat(i % width, i / width, side, step));
        flat.map(|i| own[i].abs_diff(other[i])).max().expect("the pattern has flat parts")
    };
    [compare(&frame.y, luma, side, 1), compare(&frame.u, cb, half, 2), compare(&frame.v, cr, half, 2)]
}

#[test]
fn lanczos_path_agrees_with_zscale() {
    let folder = tempfile::tempdir().unwrap();
    for (space, matrix, own_matrix) in [("smpte170m", "170m", Matrix::Bt601), ("bt709", "709", Matrix::Bt709)] {
        for (tag, range, own_range) in [("tv", "limited", Range::Limited), ("pc", "full", Range::Full)] {
            let path = folder.path().join(format!("{matrix}-{range}.mkv"));
            let frame = pattern(own_range == Range::Full);
            lossless(&path, SIZE, &[frame], &["-colorspace", space, "-color_range", tag]);
            let picture = first_picture(&path);
            assert_eq!((picture.matrix(), picture.range()), (own_matrix, own_range));
            for side in [480, 720, 1080] {
                let crop = rect(CROP.0 as f64, CROP.1 as f64, CROP.2 as f64, CROP.3 as f64);
                let own = Cropper::new().yuv(&picture, &crop, 0.0, side as u32, side as u32);
                let difference = worst(&own, &by_zscale(&path, side, matrix, range), side);
                println!("{matrix} {range} to {side}: largest difference {difference:?}");
                assert!(difference.iter().all(|&d| d <= 1), "{matrix} {range} to {side}: {difference:?}");
            }
        }
    }
}

#[test]
fn rgb_path_agrees_with_zscale() {
    let folder = tempfile::tempdir().unwrap();
    for (space, matrix) in [("smpte170m", "170m"), ("bt709", "709")] {
        let path = folder.path().join(format!("{matrix}.mkv"));
        lossless(&path, SIZE, &[pattern(false)], &["-colorspace", space, "-color_range", "tv"]);
        let crop = rect(CROP.0 as f64, CROP.1 as f64, CROP.2 as f64, CROP.3 as f64);
        let own = Cropper::new().rgb(&first_picture(&path), &crop, 0.0, 480, 480);
        let filter = format!(
            "crop={}:{}:{}:{},zscale=w=480:h=480:filter=lanczos:matrixin={matrix}:rangein=limited:chromalin=left\
             :matrix=gbr:range=full,format=gbrp,format=rgb24",
            CROP.2, CROP.3, CROP.0, CROP.1
        );
        let other = ffmpeg(&["-i", text(&path), "-vf", &filter, "-f", "rawvideo", "-frames:v", "1", "-"]);
        let flat = (0..480 * 480).filter(|i| is_flat(i % 480, i / 480, 480, 1));
        let worst = flat.flat_map(|i| i * 3..i * 3 + 3).map(|i| own.data[i].abs_diff(other[i])).max();
        // One code value of chroma is more than one of RGB: rounding to 8 bit on the way may show twice.
        assert!(worst <= Some(2), "{matrix}: {worst:?}");
    }
}

#[test]
fn untagged_video_is_bt709_from_720_lines_up() {
    let folder = tempfile::tempdir().unwrap();
    for (height, matrix) in [(720, Matrix::Bt709), (576, Matrix::Bt601)] {
        let path = folder.path().join(format!("{height}.mkv"));
        lossless(&path, (64, height), &[vec![128; 64 * height * 3 / 2]], &[]);
        let picture = first_picture(&path);
        assert_eq!((picture.matrix(), picture.range()), (matrix, Range::Limited));
    }
}

#[test]
fn high_dynamic_range_is_tone_mapped() {
    let folder = tempfile::tempdir().unwrap();
    for transfer in ["smpte2084", "arib-std-b67"] {
        let path = folder.path().join(format!("{transfer}.mkv"));
        let tags =
            ["-color_primaries", "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc", "-color_range", "tv"];
        let source = ["-f", "lavfi", "-i", "testsrc2=s=320x240:d=0.04:r=25,format=yuv420p10le", "-c:v", "ffv1"];
        ffmpeg(&[&source[..], &tags, &[text(&path)]].concat());
        let picture = first_picture(&path);
        assert_eq!((picture.matrix(), picture.range()), (Matrix::Bt709, Range::Limited));
        let own = Cropper::new().yuv(&picture, &rect(0.0, 0.0, 320.0, 240.0), 0.0, 320, 240);
        let chain = "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0,\
                     zscale=t=bt709:m=bt709:r=tv:c=left,format=yuv420p";
        let other = ffmpeg(&["-i", text(&path), "-vf", chain, "-f", "rawvideo", "-frames:v", "1", "-"]);
        let far = own.y.iter().zip(&other).filter(|(a, b)| a.abs_diff(**b) > 1).count();
        assert!(far * 1000 < own.y.len(), "{transfer}: {far} samples differ");
    }
}
