//! Whether the main job's pictures are better than plain resampling, measured against known originals.
//!
//! Originals are halved and compressed as a camera would, then brought back to their size by Lanczos, by the model
//! alone, and by the model with fidelity, exactly as an export does it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use edits::RgbImage;
use media::Finisher;
use models::{DeviceKind, ModelStore, NumericProfile, Upscaler};
use touchline_tests::ffmpeg::ffmpeg;
use touchline_tests::repository;

const MODEL: &str = "realesr-animevideov3-x4";
const FIDELITY: f32 = 0.5;
const WALKERS: &str = "/usr/share/doc/opencv-doc/examples/data/vtest.avi";
/// Side of an original in pixels; small, so that six pictures take seconds.
const SIDE: u32 = 320;

/// How a camera compressed it.
#[derive(Debug, Clone, Copy)]
enum Camera {
    Jpeg,
    H264,
}

/// Where an original is cut from.
struct Original {
    name: &'static str,
    source: PathBuf,
    /// Cut of `SIDE` pixels at (x, y), at this second of a video.
    at: (u32, u32),
    second: &'static str,
    camera: Camera,
}

fn originals() -> Vec<Original> {
    let photos = repository().join("models/download/assets");
    let original = |name, source: PathBuf, at, second, camera| Original { name, source, at, second, camera };
    vec![
        original("bus, people", photos.join("bus.jpg"), (20, 400), "0", Camera::Jpeg),
        original("bus, right", photos.join("bus.jpg"), (480, 380), "0", Camera::H264),
        original("zidane, face", photos.join("zidane.jpg"), (680, 40), "0", Camera::Jpeg),
        original("zidane, coach", photos.join("zidane.jpg"), (100, 200), "0", Camera::H264),
        original("bus, front", photos.join("bus.jpg"), (250, 200), "0", Camera::Jpeg),
        original("walkers", WALKERS.into(), (220, 120), "40", Camera::H264),
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

/// The original, and what a camera of half the resolution made of it.
fn shoot(original: &Original, folder: &Path) -> Result<(RgbImage, RgbImage)> {
    let (x, y) = original.at;
    let (whole, shot, half) = (folder.join("original.png"), folder.join("shot.bin"), folder.join("half.png"));
    ensure!(original.source.is_file(), "{} is missing; run scripts/setup", original.source.display());
    filtered(
        &original.source,
        &whole,
        &["-ss", original.second],
        &format!("crop={SIDE}:{SIDE}:{x}:{y}"),
        &["-pix_fmt", "rgb24"],
    )?;
    let halve = format!("scale={0}:{0}:flags=area", SIDE / 2);
    let shot = match original.camera {
        Camera::Jpeg => shot.with_extension("jpg"),
        Camera::H264 => shot.with_extension("mp4"),
    };
    match original.camera {
        Camera::Jpeg => filtered(&whole, &shot, &[], &halve, &["-q:v", "5"])?,
        Camera::H264 => {
            filtered(&whole, &shot, &[], &halve, &["-c:v", "libx264", "-crf", "20", "-pix_fmt", "yuv420p"])?;
        }
    }
    filtered(&shot, &half, &[], "null", &["-pix_fmt", "rgb24"])?;
    Ok((media::read_image(&whole)?, media::read_image(&half)?))
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
        let (whole, half) = shoot(&original, folder.path()).context(original.name)?;
        let model = upscaler.infer(&[&half])?.remove(0);
        let mut finish = |from: &RgbImage, fidelity| finisher.finish(from, &half, SIDE, SIDE, fidelity);
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

/// `balanced` feeds at most half the output: a crop of three quarters is reduced before the model sees it.
#[test]
fn balanced_is_no_worse_than_lanczos() -> Result<()> {
    let mut upscaler = upscaler()?;
    let mut finisher = Finisher::new();
    for original in originals() {
        let folder = tempfile::tempdir()?;
        shoot(&original, folder.path()).context(original.name)?;
        let (whole, shot, fed) =
            (folder.path().join("original.png"), folder.path().join("crop.png"), folder.path().join("fed.png"));
        let crop = SIDE * 3 / 4;
        let jpeg = folder.path().join("crop.jpg");
        filtered(&whole, &jpeg, &[], &format!("scale={crop}:{crop}:flags=area"), &["-q:v", "5"])?;
        filtered(&jpeg, &shot, &[], "null", &["-pix_fmt", "rgb24"])?;
        filtered(&shot, &fed, &[], &format!("scale={0}:{0}:flags=lanczos", SIDE / 2), &["-pix_fmt", "rgb24"])?;
        let (whole, shot, fed) = (media::read_image(&whole)?, media::read_image(&shot)?, media::read_image(&fed)?);
        let model = upscaler.infer(&[&fed])?.remove(0);
        let lanczos = psnr(&finisher.finish(&shot, &shot, SIDE, SIDE, 0.0), &whole);
        let ours = psnr(&finisher.finish(&model, &shot, SIDE, SIDE, FIDELITY), &whole);
        println!("{:<14} balanced {ours:.2} dB, lanczos {lanczos:.2} dB", original.name);
        ensure!(ours >= lanczos - 0.2, "{}: balanced {ours:.2} dB, lanczos {lanczos:.2} dB", original.name);
    }
    Ok(())
}
