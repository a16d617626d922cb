//! `touchline bench`: what this machine does, stage by stage.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use config::{DeviceList, DeviceName, Settings};
use edits::ExportKind;
use edits::{FrameRate, RgbImage};
use media::{FrameDecoder, SegmentEncoder, VideoSettings, YuvFrame};
use models::{Detector, DeviceKind, ModelKind, ModelStore, Upscaler};
use serde::Serialize;
use serde_json::{Value, json};

use super::error::CliError;
use super::job::Job;
use super::render_args::RenderArgs;
use super::{print_json, progress, render};

/// Measures decoding, encoding, every model on every device, and one whole framing job.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    /// How long each measurement runs
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    seconds: f64,
    /// The devices to measure: auto, or cpu:N, cuda:N, sim:N with commas between
    #[arg(long, value_name = "LIST")]
    devices: Option<DeviceList>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  touchline bench
  touchline bench --seconds 10 --json
  touchline bench --devices cpu:0,cpu:1

The picture is made by the command itself: a panning texture with noise. Decoding and encoding use one thread, as
a segment does. The framing job makes 540x960 from a 270x480 crop on all devices together.";

/// One measured thing.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    /// What was measured.
    what: String,
    /// Where it ran.
    on: String,
    /// The picture it worked on.
    picture: String,
    /// Pictures a second.
    fps: f64,
    /// Milliseconds a picture.
    milliseconds: f64,
}

const WIDTH: u32 = 1920;
const HEIGHT: u32 = 1080;
/// Frames of the synthetic video: two seconds, so that noise does not repeat at once.
const FRAMES: u64 = 60;
/// The framing job's crop; what upscalers are fed, small enough for the large ones; and what detectors are fed.
const CROP: (u32, u32) = (270, 480);
const FED: (u32, u32) = (160, 120);
const SEEN: (u32, u32) = (1280, 720);

pub fn run(args: &BenchArgs, mut settings: Settings) -> Result<(), CliError> {
    media::init();
    if let Some(devices) = &args.devices {
        settings.devices.list = devices.clone();
    }
    let folder = tempfile::Builder::new().prefix("touchline-").tempdir().map_err(anyhow::Error::from)?;
    let clip = folder.path().join("bench.mp4");
    let span = Duration::from_secs_f64(args.seconds);
    let spinner = progress::spinner("encoding");
    let mut rows = vec![encode(&clip, span)?];
    spinner.set_message("decoding");
    rows.push(decode(&clip, span)?);
    spinner.set_message("models");
    rows.extend(models(&settings, folder.path(), span)?);
    spinner.finish_and_clear();
    let (framing, report) = framing(&clip, folder.path(), settings, args.seconds)?;
    rows.push(framing);
    if args.json {
        return print_json(&json!({ "rows": rows, "framing": report }));
    }
    println!("{:<34}  {:<10}  {:<10}  {:>9}  {:>11}", "WHAT", "ON", "PICTURE", "FPS", "MS/PICTURE");
    for Row { what, on, picture, fps, milliseconds } in &rows {
        println!("{what:<34}  {on:<10}  {picture:<10}  {fps:>9.2}  {milliseconds:>11.2}");
    }
    Ok(())
}

/// Does `work` again and again for `span`. The first time, which warms up, counts only if there is no other.
fn measure<E>(span: Duration, mut work: impl FnMut() -> Result<u64, E>) -> Result<f64, E> {
    let began = Instant::now();
    let first = work()?;
    let warm = Instant::now();
    if warm - began >= span {
        return Ok(first as f64 / (warm - began).as_secs_f64());
    }
    let mut pictures = 0;
    while pictures == 0 || warm.elapsed() < span {
        pictures += work()?;
    }
    Ok(pictures as f64 / warm.elapsed().as_secs_f64())
}

fn row(what: impl Into<String>, on: impl Into<String>, (width, height): (u32, u32), fps: f64) -> Row {
    let picture = format!("{width}x{height}");
    Row { what: what.into(), on: on.into(), picture, fps, milliseconds: 1e3 / fps }
}

fn encode(clip: &Path, span: Duration) -> Result<Row, CliError> {
    let settings = VideoSettings {
        width: WIDTH,
        height: HEIGHT,
        rate: FrameRate { num: 30, den: 1 },
        gop: 30,
        crf: 23,
        preset: "fast".into(),
    };
    let pictures: Vec<YuvFrame> = (0..FRAMES).map(texture).collect();
    let work = || -> Result<u64, media::MediaError> {
        let mut encoder = SegmentEncoder::create(clip, &settings)?;
        pictures.iter().try_for_each(|picture| encoder.push(picture))?;
        Ok(encoder.finish()?.frames)
    };
    let fps = measure(span, work).map_err(anyhow::Error::from)?;
    Ok(row("encode H.264 (preset fast, CRF 23)", "1 thread", (WIDTH, HEIGHT), fps))
}

fn decode(clip: &Path, span: Duration) -> Result<Row, CliError> {
    let work = || -> Result<u64, media::MediaError> {
        let index = Arc::new(media::build_index(clip)?);
        let mut decoder = FrameDecoder::open(clip, Arc::clone(&index), 1)?;
        (0..index.len()).try_for_each(|n| decoder.frame(n).map(drop))?;
        Ok(index.len() as u64)
    };
    let fps = measure(span, work).map_err(anyhow::Error::from)?;
    Ok(row("decode H.264", "1 thread", (WIDTH, HEIGHT), fps))
}

/// Every model on every device, one device at a time. Measured winners are kept in `data` where the models' folder
/// cannot be written.
fn models(settings: &Settings, data: &Path, span: Duration) -> Result<Vec<Row>, CliError> {
    let failed = |error: models::ModelError| CliError::Failed(error.into());
    let folder = ModelStore::locate(&settings.models.dir).map_err(failed)?;
    let store = ModelStore::open(&folder).map_err(failed)?;
    let keep = actors::node::keep_dir(Some(&folder), data);
    let names = match &settings.devices.list {
        DeviceList::Auto => actors::inference::device::auto(settings.devices.cpu_threads),
        DeviceList::Named(names) => names.clone(),
    };
    let mut rows = Vec::new();
    for name in names {
        let device = match name {
            DeviceName::Cuda(index) => DeviceKind::Cuda { index },
            DeviceName::Cpu(_) => DeviceKind::Cpu { threads: settings.devices.cpu_threads },
            // It only waits, for a configured time.
            DeviceName::Sim(_) => continue,
        };
        for model in store.names() {
            rows.push(one_model(&store, model, &device, &name, &keep, span).map_err(failed)?);
        }
    }
    Ok(rows)
}

fn one_model(
    store: &ModelStore,
    model: &str,
    device: &DeviceKind,
    name: &DeviceName,
    keep: &Path,
    span: Duration,
) -> Result<Row, models::ModelError> {
    let profile = models::choose_profile(store, model, device, keep)?;
    let what = format!("{model} {}", profile.precision);
    let batch = profile.batch;
    let (size, fps) = match store.kind(model)? {
        ModelKind::Upscaler => {
            let mut upscaler = Upscaler::load(store, &profile, device)?;
            let image = media::to_rgb(&cut(FED));
            let images: Vec<&RgbImage> = vec![&image; batch];
            (FED, measure(span, || upscaler.infer(&images).map(|results| results.len() as u64))?)
        }
        ModelKind::Detector => {
            let mut detector = Detector::load(store, &profile, device)?;
            let image = media::to_rgb(&cut(SEEN));
            let images: Vec<&RgbImage> = vec![&image; batch];
            (SEEN, measure(span, || detector.detect(&images).map(|results| results.len() as u64))?)
        }
    };
    Ok(row(what, name.to_string(), size, fps))
}

/// A reel of one clip by the actors of the server, as `touchline render framing` makes it.
fn framing(clip: &Path, folder: &Path, settings: Settings, seconds: f64) -> Result<(Row, Value), CliError> {
    // About as much work as the other measurements, at some ten frames a second and device.
    let end = (seconds / 3.0).clamp(0.2, 2.0);
    let key = json!({"time": 0, "x": 800, "y": 300, "width": CROP.0, "height": CROP.1});
    let spec = json!({
        "kind": "framing",
        "clips": [{"start": 0, "end": end, "crop": [key]}],
        "output": {"width": 2 * CROP.0, "height": 2 * CROP.1},
        "upscale": {"quality": "best"},
        "detect": {"rule": "none"},
    });
    let file = folder.join("bench.json");
    std::fs::write(&file, spec.to_string()).map_err(|error| CliError::failed(file.display(), error))?;
    let args = RenderArgs {
        input: clip.to_owned(),
        spec: file,
        output: folder.join("framed.mp4"),
        devices: None,
        batch: None,
        sim_frame_ms: None,
        trace: None,
    };
    let report = render::perform(&Job::prepare(ExportKind::Framing, args, &settings)?, settings)?;
    let fps = report["fps"].as_f64().unwrap_or_default();
    let on = report["devices"].as_array().map_or(0, Vec::len);
    Ok((row("framing job, upscaled", format!("{on} devices"), (2 * CROP.0, 2 * CROP.1), fps), report))
}

/// Frame `n` of the synthetic video.
fn texture(n: u64) -> YuvFrame {
    let mut frame = YuvFrame::new(WIDTH, HEIGHT);
    let width = WIDTH as usize;
    for (y, line) in frame.y.chunks_exact_mut(width).enumerate() {
        for (x, pixel) in line.iter_mut().enumerate() {
            let (u, v) = ((x as u64 + 4 * n) as u32, y as u32);
            let wave = 40.0 * (f64::from(u) / 37.0).sin() + 30.0 * (f64::from(v) / 23.0).cos();
            *pixel = (120.0 + wave + f64::from(noise(u, v) % 24)) as u8;
        }
    }
    for (i, (cb, cr)) in frame.u.iter_mut().zip(&mut frame.v).enumerate() {
        let x = (i % (width / 2)) as u64 + 2 * n;
        *cb = 118 + (x / 64 % 16) as u8;
        *cr = 120 + (x / 96 % 12) as u8;
    }
    frame
}

/// The top left of the synthetic picture.
fn cut((width, height): (u32, u32)) -> YuvFrame {
    let whole = texture(0);
    let mut part = YuvFrame::new(width, height);
    let copy = |to: &mut [u8], from: &[u8], width: usize, stride: usize| {
        let rows = to.chunks_exact_mut(width).zip(from.chunks_exact(stride));
        rows.for_each(|(to, from)| to.copy_from_slice(&from[..width]));
    };
    copy(&mut part.y, &whole.y, width as usize, WIDTH as usize);
    copy(&mut part.u, &whole.u, width as usize / 2, WIDTH as usize / 2);
    copy(&mut part.v, &whole.v, width as usize / 2, WIDTH as usize / 2);
    part
}

/// A hash of a position: grain that moves with the picture.
fn noise(x: u32, y: u32) -> u32 {
    let mut h = x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77);
    h ^= h >> 15;
    h = h.wrapping_mul(0xC2B2_AE3D);
    h ^ (h >> 13)
}

fn seconds(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().map_err(|error| error.to_string())?;
    if (0.1..=600.0).contains(&value) { Ok(value) } else { Err("must be 0.1 to 600 seconds".to_owned()) }
}
