//! `make bench`: the figures of the README that are ratios and bounds, measured through the command line.
//!
//! Every line compares things within one run and prints what was asked for beside what was found. Nothing here
//! fails because a machine is slow.

mod detections;
mod hammer;
mod kinds;
mod pairs;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// A figure: what was measured, what is wanted, and whether it was reached.
struct Figure {
    what: String,
    found: String,
    wanted: &'static str,
    reached: bool,
}

struct Bench {
    touchline: PathBuf,
    folder: tempfile::TempDir,
    figures: Vec<Figure>,
    /// How often two programs are compared (`pairs=N`); each comparison has its own default.
    pairs: Option<usize>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, file] = &arguments[..]
        && word == detections::BARE
    {
        return detections::serve_bare(file).await;
    }
    let (pairs, wanted): (Vec<String>, Vec<String>) = arguments.into_iter().partition(|one| one.starts_with("pairs="));
    let pairs = pairs.first().map(|pairs| pairs["pairs=".len()..].parse()).transpose().context("pairs=N")?;
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
    let touchline = touchline_tests::binary()?;
    let mut bench = Bench { touchline, folder: tempfile::tempdir()?, figures: Vec::new(), pairs };
    if wants("busy") {
        bench.device_busy()?;
    }
    if wants("scaling") {
        bench.scaling()?;
    }
    if wants("memory") {
        bench.memory()?;
    }
    if wants("smart") {
        bench.smart_render()?;
    }
    if wants("overlay") {
        bench.full_overlay()?;
    }
    if wants("annotated") {
        bench.annotated()?;
    }
    if wants("clip") {
        bench.clip_copy()?;
    }
    if wants("detection") {
        bench.batch_detection().await?;
    }
    if wants("detections") {
        bench.cached_detections().await?;
    }
    println!("\n{:<58} {:>24}   wanted", "figure", "found");
    for figure in &bench.figures {
        let mark = if figure.reached { "ok" } else { "NOT REACHED" };
        println!("{:<58} {:>24}   {}  {mark}", figure.what, figure.found, figure.wanted);
    }
    Ok(())
}

impl Bench {
    /// How much of the time between its first and its last batch a device works.
    fn device_busy(&mut self) -> Result<()> {
        let source = self.source("busy", 640, 360, 8)?;
        let simulated = self.render(&source, &small(8.0), &["--devices", "sim:0", "--sim-frame-ms", "40"])?;
        let busy = simulated["devices"][0]["busy_ratio"].as_f64().context("no busy ratio")?;
        self.note("sim at 40 ms, 240 frames: device busy", percent(busy), ">= 95 %", busy >= 0.95);

        let spec = json!({
            "kind": "framing", "output": {"width": 270, "height": 480},
            "upscale": {"quality": "draft"}, "detect": {"rule": "none"},
            "clips": [{"start": 0.0, "end": 2.0, "crop": [crop(0.0, 20.0), crop(2.0, 300.0)]}],
        });
        let real = self.render(&source, &spec, &["--devices", "cpu:0"])?;
        ensure!(real["frames_inferred"] == 60, "60 frames were to be inferred: {real}");
        let busy = real["devices"][0]["busy_ratio"].as_f64().context("no busy ratio")?;
        self.note("cpu, 60 AI frames: device busy", percent(busy), ">= 97 %", busy >= 0.97);
        Ok(())
    }

    /// The same frames on one, four and eight simulated devices.
    fn scaling(&mut self) -> Result<()> {
        let source = self.source("scaling", 640, 360, 8)?;
        let mut walls = Vec::new();
        for devices in [1, 4, 8] {
            let list: Vec<_> = (0..devices).map(|number| format!("sim:{number}")).collect();
            let options = ["--devices", &list.join(","), "--sim-frame-ms", "300", "--batch", "1"];
            let report = self.render(&source, &small(8.0), &options)?;
            walls.push((report["seconds"].as_f64(), report["device_seconds"].as_f64()));
        }
        let [one, four, eight] = walls[..] else { bail!("three runs were made") };
        let ratio = |many: (Option<f64>, Option<f64>)| Some((one.0? / many.0?, many.1? / one.1?));
        let (wall, device) = ratio(four).context("no times")?;
        self.note("4 devices: wall time against 1", format!("{wall:.2}x"), ">= 3.8x", wall >= 3.8);
        self.note(
            "4 devices: device seconds against 1",
            format!("{device:.4}"),
            "within 2 %",
            (device - 1.0).abs() < 0.02,
        );
        let (wall, device) = ratio(eight).context("no times")?;
        self.note("8 devices: wall time against 1", format!("{wall:.2}x"), ">= 7.2x", wall >= 7.2);
        self.note(
            "8 devices: device seconds against 1",
            format!("{device:.4}"),
            "within 2 %",
            (device - 1.0).abs() < 0.02,
        );
        Ok(())
    }

    /// Memory must not grow with the length of the video.
    fn memory(&mut self) -> Result<()> {
        let source = self.source("memory", 1280, 720, 60)?;
        let whole = |seconds: f64| json!({"kind": "framing", "clips": [{"start": 0.0, "end": seconds}]});
        let options = ["--devices", "sim:0", "--sim-frame-ms", "0"];
        let short = peak(&self.render(&source, &whole(10.0), &options)?)?;
        let long = peak(&self.render(&source, &whole(60.0), &options)?)?;
        let ratio = long / short;
        self.note("peak memory of 60 s against 10 s", format!("{ratio:.3}x"), "<= 1.1x", ratio <= 1.1);

        let source = self.source("memory-1080", 1920, 1080, 3)?;
        let spec = json!({
            "kind": "framing", "upscale": {"quality": "draft"}, "clips": [{"start": 0.0, "end": 3.0,
                "crop": [{"time": 0.0, "x": 500.0, "y": 200.0, "width": 405.0, "height": 720.0}]}],
        });
        let real = peak(&self.render(&source, &spec, &[])?)? / 1e9;
        self.note("peak memory of 3 s draft AI from 1080p", format!("{real:.2} GB"), "< 1.5 GB", real < 1.5);
        Ok(())
    }

    fn note(&mut self, what: &str, found: String, wanted: &'static str, reached: bool) {
        eprintln!("{what}: {found} (wanted {wanted})");
        self.figures.push(Figure { what: what.to_owned(), found, wanted, reached });
    }

    /// A moving test picture at 30 frames a second, with sound.
    fn source(&self, name: &str, width: u32, height: u32, seconds: u32) -> Result<PathBuf> {
        let path = self.folder.path().join(format!("{name}.mp4"));
        let picture = format!("testsrc2=size={width}x{height}:rate=30:duration={seconds}");
        let sound = format!("sine=frequency=440:duration={seconds}");
        let status = Command::new("ffmpeg")
            .args([
                "-hide_banner",
                "-loglevel",
                "error",
                "-y",
                "-f",
                "lavfi",
                "-i",
                &picture,
                "-f",
                "lavfi",
                "-i",
                &sound,
            ])
            .args(["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest"])
            .arg(&path)
            .status()
            .context("running ffmpeg; install it with scripts/setup")?;
        ensure!(status.success(), "ffmpeg could not make {}", path.display());
        Ok(path)
    }

    /// Runs `touchline render framing` and returns its report.
    fn render(&self, input: &Path, spec: &Value, options: &[&str]) -> Result<Value> {
        let spec_file = self.folder.path().join("spec.json");
        std::fs::write(&spec_file, spec.to_string())?;
        let output = Command::new(&self.touchline)
            .args(["render", "framing", "--input"])
            .arg(input)
            .arg("--spec")
            .arg(&spec_file)
            .arg("--output")
            .arg(self.folder.path().join("out.mp4"))
            .args(options)
            .output()?;
        ensure!(output.status.success(), "touchline render: {}", String::from_utf8_lossy(&output.stderr));
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// 270x480 from 640x360, a crop that follows, every frame through the model.
fn small(seconds: f64) -> Value {
    json!({
        "kind": "framing", "output": {"width": 270, "height": 480}, "detect": {"rule": "none"},
        "clips": [{"start": 0.0, "end": seconds, "crop": [crop(0.0, 20.0), crop(seconds, 300.0)]}],
    })
}

fn crop(time: f64, x: f64) -> Value {
    json!({"time": time, "x": x, "y": 20.0, "width": 180.0, "height": 320.0})
}

fn percent(ratio: f64) -> String {
    format!("{:.1} %", ratio * 100.0)
}

fn peak(report: &Value) -> Result<f64> {
    report["peak_rss_bytes"].as_f64().context("the report has no peak_rss_bytes")
}
