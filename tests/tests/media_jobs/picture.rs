//! Whether the main job's pictures are better than plain resampling, measured against known originals.
//!
//! Originals are halved and compressed as a camera would, then brought back to their size by Lanczos, by the model
//! alone, and by the model with fidelity, exactly as an export does it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use edits::{Feed, Quality, RgbImage};
use media::Finisher;
use models::{DeviceKind, ModelStore, NumericProfile, Upscaler};
use touchline_tests::ffmpeg::ffmpeg;
use touchline_tests::repository;

const MODEL: &str = "realesr-animevideov3-x4";
const FIDELITY: f32 = 0.5;
const WALKERS: &str = "/usr/share/doc/opencv-doc/examples/data/vtest.avi";

/// How a camera compressed it.
#[derive(Debug, Clone, Copy)]
enum Camera {
    Jpeg,
    H264,
}

/// A whole picture, and the camera that is to have taken it.
struct Original {
    name: &'static str,
    source: PathBuf,
    /// Where in the source, as arguments of ffmpeg; a photograph has no time to seek to.
    seek: &'static [&'static str],
    camera: Camera,
}

fn originals() -> Vec<Original> {
    let photos = repository().join("models/download/assets");
    let original = |name, source: PathBuf, seek, camera| Original { name, source, seek, camera };
    vec![
        original("bus", photos.join("bus.jpg"), &[], Camera::Jpeg),
        original("bus", photos.join("bus.jpg"), &[], Camera::H264),
        original("zidane", photos.join("zidane.jpg"), &[], Camera::Jpeg),
        original("zidane", photos.join("zidane.jpg"), &[], Camera::H264),
        original("square, 40 s", WALKERS.into(), &["-ss", "40"], Camera::H264),
        original("square, 60 s", WALKERS.into(), &["-ss", "60"], Camera::Jpeg),
    ]
}

/// Runs ffmpeg from one file to another with a filter.
fn filtered(from: &Path, to: &Path, before: &[&str], filter: &str, after: &[&str]) -> Result<()> {
    let mut arguments: Vec<&OsStr> = before.iter().map(OsStr::new).collect();
    arguments.extend([OsStr::new("-i"), from.as_os_str(), OsStr::new("-vf"), OsStr::new(filter)]);
    arguments.extend(["-frames:v", "1"].map(OsStr::new));
    arguments.extend(after.iter().map(OsStr::new));
    arguments.push(to.as_os_str());
    ffmpeg(arguments)
}

/// The original, and what a camera of `numerator / denominator` of its resolution made of it.
fn shoot(original: &Original, part: (u32, u32), folder: &Path) -> Result<(RgbImage, RgbImage)> {
    ensure!(original.source.is_file(), "{} is missing; run scripts/setup", original.source.display());
    let (whole, taken) = (folder.join("original.png"), folder.join("taken.png"));
    // Sides that a quarter divides, so that half and three quarters are whole and even.
    let even = "crop=trunc(iw/8)*8:trunc(ih/8)*8";
    filtered(&original.source, &whole, original.seek, even, &["-pix_fmt", "rgb24"])?;
    let (numerator, denominator) = part;
    let reduce = format!("scale=iw*{numerator}/{denominator}:-2:flags=area");
    let shot = match original.camera {
        Camera::Jpeg => {
            let shot = folder.join("shot.jpg");
            filtered(&whole, &shot, &[], &reduce, &["-q:v", "7"])?;
            shot
        }
        Camera::H264 => {
            let shot = folder.join("shot.mp4");
            filtered(&whole, &shot, &[], &reduce, &["-c:v", "libx264", "-crf", "23", "-pix_fmt", "yuv420p"])?;
            shot
        }
    };
    filtered(&shot, &taken, &[], "null", &["-pix_fmt", "rgb24"])?;
    Ok((media::read_image(&whole)?, media::read_image(&taken)?))
}

/// Peak signal to noise ratio over all channels, in dB.
fn psnr(a: &RgbImage, b: &RgbImage) -> f64 {
    let square = |(a, b): (&u8, &u8)| (f64::from(*a) - f64::from(*b)).powi(2);
    let error = a.data.iter().zip(&b.data).map(square).sum::<f64>() / a.data.len() as f64;
    10.0 * (255.0 * 255.0 / error.max(1e-9)).log10()
}

fn luma(image: &RgbImage) -> Vec<f64> {
    let of = |p: &[u8]| 0.299 * f64::from(p[0]) + 0.587 * f64::from(p[1]) + 0.114 * f64::from(p[2]);
    image.data.chunks_exact(3).map(of).collect()
}

/// Mean structural similarity of luma over 8x8 windows (Wang et al., 2004, with their constants).
fn ssim(a: &RgbImage, b: &RgbImage) -> f64 {
    const WINDOW: usize = 8;
    const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);
    const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);
    let (width, height) = (a.width as usize, a.height as usize);
    let (a, b) = (luma(a), luma(b));
    let (mut sum, mut count) = (0.0, 0.0);
    for top in (0..=height - WINDOW).step_by(4) {
        for left in (0..=width - WINDOW).step_by(4) {
            let (mut sa, mut sb, mut saa, mut sbb, mut sab) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for y in top..top + WINDOW {
                for x in left..left + WINDOW {
                    let (p, q) = (a[y * width + x], b[y * width + x]);
                    (sa, sb) = (sa + p, sb + q);
                    (saa, sbb, sab) = (saa + p * p, sbb + q * q, sab + p * q);
                }
            }
            let n = (WINDOW * WINDOW) as f64;
            let (ma, mb) = (sa / n, sb / n);
            let (va, vb, cov) = (saa / n - ma * ma, sbb / n - mb * mb, sab / n - ma * mb);
            sum += (2.0 * ma * mb + C1) * (2.0 * cov + C2) / ((ma * ma + mb * mb + C1) * (va + vb + C2));
            count += 1.0;
        }
    }
    sum / count
}

/// An area average to a size that divides the picture's.
fn reduced(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    let factor = (image.width / width) as usize;
    let mut small = RgbImage::new(width, height);
    for y in 0..height as usize {
        for x in 0..width as usize {
            for channel in 0..3 {
                let at = |dy: usize, dx: usize| {
                    let index = ((y * factor + dy) * image.width as usize + x * factor + dx) * 3 + channel;
                    u32::from(image.data[index])
                };
                let sum: u32 =
                    (0..factor).flat_map(|dy| (0..factor).map(move |dx| (dy, dx))).map(|(dy, dx)| at(dy, dx)).sum();
                let area = (factor * factor) as u32;
                small.data[(y * width as usize + x) * 3 + channel] = ((sum + area / 2) / area) as u8;
            }
        }
    }
    small
}

fn upscaler() -> Result<Upscaler> {
    let store = ModelStore::open(&ModelStore::locate(Path::new("models/weights"))?)?;
    let device = DeviceKind::Cpu { threads: 1 };
    let keep = tempfile::tempdir()?;
    let profile: NumericProfile = models::choose_profile(&store, MODEL, &device, keep.path())?;
    Ok(Upscaler::load(&store, &profile, &device)?)
}

#[test]
fn fidelity_beats_lanczos_and_the_model_alone_on_every_picture() -> Result<()> {
    let mut upscaler = upscaler()?;
    let mut finisher = Finisher::new();
    println!(
        "{:<14} {:>6} {:>15} {:>15} {:>15} {:>8}",
        "picture", "camera", "lanczos", "model alone", "fidelity 0.5", "to crop"
    );
    for original in originals() {
        let folder = tempfile::tempdir()?;
        let (whole, half) = shoot(&original, (1, 2), folder.path()).context(original.name)?;
        let model = upscaler.infer(&[&half])?.remove(0);
        let mut finish = |from: &RgbImage, fidelity| finisher.finish(from, &half, whole.width, whole.height, fidelity);
        let (lanczos, alone, ours) = (finish(&half, 0.0), finish(&model, 0.0), finish(&model, FIDELITY));
        let judged = [&lanczos, &alone, &ours].map(|image| (psnr(image, &whole), ssim(image, &whole)));
        let to_crop = psnr(&reduced(&ours, half.width, half.height), &half);
        let shown = judged.map(|(psnr, ssim)| format!("{psnr:.2} dB {ssim:.3}"));
        let camera = format!("{:?}", original.camera);
        println!("{:<14} {camera:>6} {:>15} {:>15} {:>15} {to_crop:>8.2}", original.name, shown[0], shown[1], shown[2]);
        let [lanczos, alone, ours] = judged;
        ensure!(ours.0 > lanczos.0 && ours.0 > alone.0, "{}: PSNR {judged:?}", original.name);
        ensure!(ours.1 > lanczos.1 && ours.1 > alone.1, "{}: SSIM {judged:?}", original.name);
        ensure!(to_crop >= 32.0, "{}: reduced to the crop's size only {to_crop:.2} dB", original.name);
    }
    Ok(())
}

/// `balanced` feeds at most half the output: a crop of half the output's size is fed as it is, so the figures of
/// `best` are its own.
#[test]
fn balanced_feeds_a_halved_picture_whole() {
    for (width, height) in [(405, 720), (640, 360), (384, 288)] {
        let output = (2 * width, 2 * height);
        for quality in [Quality::Best, Quality::Balanced] {
            assert_eq!(Feed::new(output, quality, true).size(f64::from(height)), Some((width, height)), "{quality:?}");
        }
    }
}
