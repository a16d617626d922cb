//! What the tests of this crate share.

use std::path::Path;
use std::process::Command;

use edits::{CropRect, FrameRate};

pub fn rate(num: u32, den: u32) -> FrameRate {
    FrameRate { num, den }
}

pub fn rect(x: f64, y: f64, width: f64, height: f64) -> CropRect {
    CropRect { x, y, width, height }
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs the ffmpeg program and returns its standard output.
pub fn ffmpeg(arguments: &[&str]) -> Vec<u8> {
    run("ffmpeg", &[&["-nostdin", "-v", "error", "-y"], arguments].concat())
}

/// Runs ffprobe and returns its standard output as text.
pub fn ffprobe(arguments: &[&str]) -> String {
    String::from_utf8(run("ffprobe", &[&["-v", "error", "-of", "csv=p=0"], arguments].concat())).unwrap()
}

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().expect("ffmpeg is installed: apt-get install ffmpeg");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{program} {arguments:?}: {errors}");
    output.stdout
}

/// Wraps planar frames (4:2:0, 8 bit) losslessly, at 25 fps, with more ffmpeg output options.
pub fn lossless(path: &Path, (width, height): (usize, usize), frames: &[Vec<u8>], options: &[&str]) {
    let raw = path.with_extension("yuv");
    std::fs::write(&raw, frames.concat()).unwrap();
    let size = format!("{width}x{height}");
    let input = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-r", "25", "-s", &size, "-i", text(&raw), "-c:v", "ffv1"];
    ffmpeg(&[&input, options, &[text(path)]].concat());
}

pub fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares: f64 = a.iter().zip(b).map(|(&a, &b)| f64::from(a.abs_diff(b)).powi(2)).sum();
    10.0 * (255.0f64.powi(2) * a.len() as f64 / squares.max(1e-9)).log10()
}
