//! One export on one, four and eight simulated devices, and on four of different speeds: devices pull, so that each
//! does what it can, and the time of devices does not grow with their number.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Finding, Running};
use crate::footage;

/// How big the scenario is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Frames of the export, at 30 a second.
    pub frames: u32,
    /// What a simulated device of speed 1 takes for a frame, in milliseconds.
    pub frame_ms: f64,
    /// How far device seconds may differ between runs, as a share: what a busy machine adds to each wait.
    pub device_seconds_within: f64,
    /// Whether wall times are judged: frames have to last long against what the machine itself does.
    pub judges_wall_times: bool,
}

impl Size {
    /// For tests.
    pub const TEST: Self = Self { frames: 48, frame_ms: 60.0, device_seconds_within: 0.25, judges_wall_times: false };
    /// For `make soak`: the job and the device that README compares with.
    pub const SOAK: Self = Self { frames: 449, frame_ms: 690.0, device_seconds_within: 0.01, judges_wall_times: true };
}

/// What a run took.
struct Took {
    wall: f64,
    device: f64,
    frames: u64,
}

/// Runs it through the command line, one run after the other.
pub fn run(size: Size) -> Running {
    Box::pin(measure(size))
}

async fn measure(size: Size) -> Result<Vec<Finding>> {
    tokio::task::spawn_blocking(move || compare(size)).await?
}

fn compare(size: Size) -> Result<Vec<Finding>> {
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("match.mp4");
    let seconds = size.frames.div_ceil(30);
    footage::stamped(&source, "30", seconds, None, &["-c:v", "libx264", "-preset", "veryfast", "-c:a", "aac"])?;
    let one = render(&source, size, &[1.0])?;
    let mut findings = Vec::new();
    for (devices, times) in [(4, 3.9), (8, 7.5)] {
        let many = render(&source, size, &vec![1.0; devices])?;
        let share = many.device / one.device - 1.0;
        findings.push(Finding::new(
            format!("device seconds of {devices} devices against 1, {} frames at {} ms", many.frames, size.frame_ms),
            format!("within {} %", size.device_seconds_within * 100.0),
            format!("{:.1} s against {:.1} s: {:+.2} %", many.device, one.device, share * 100.0),
            share.abs() <= size.device_seconds_within && many.frames == one.frames,
        ));
        if size.judges_wall_times {
            let found = one.wall / many.wall;
            findings.push(Finding::new(
                format!("{devices} devices against 1: wall time"),
                format!(">= {times}x better"),
                format!("{found:.2}x ({:.1} s against {:.1} s)", many.wall, one.wall),
                found >= times,
            ));
        }
    }
    findings.push(mixed_speeds(&source, size)?);
    Ok(findings)
}

/// Slow devices take what they can, and delay no other device at the end.
fn mixed_speeds(source: &Path, size: Size) -> Result<Finding> {
    let speeds = [1.0, 1.0, 0.5, 0.25];
    let took = render(source, size, &speeds)?;
    let summed = speeds.iter().sum::<f64>() / (size.frame_ms / 1e3);
    let reached = f64::from(size.frames) / took.wall / summed;
    let what = "devices of speeds 1, 1, 1/2 and 1/4: frames a second against the summed speed";
    let found = format!("{:.1} % ({:.1} s)", reached * 100.0, took.wall);
    if size.judges_wall_times {
        return Ok(Finding::new(what, ">= 95 %", found, reached >= 0.95));
    }
    Ok(Finding::new(what, "every frame", found, took.frames == u64::from(size.frames)))
}

fn render(source: &Path, size: Size, speeds: &[f64]) -> Result<Took> {
    let folder = tempfile::tempdir()?;
    let (spec, output) = (folder.path().join("spec.json"), folder.path().join("out.mp4"));
    std::fs::write(&spec, of_frames(size.frames).to_string())?;
    let names: Vec<_> = (0..speeds.len()).map(|number| format!("sim:{number}")).collect();
    let sims = names.iter().zip(speeds).map(|(device, speed)| format!("{{device = \"{device}\", speed = {speed:?}}}"));
    let run = Command::new(crate::binary()?)
        .args(["render", "framing", "--batch", "1", "--input"])
        .arg(source)
        .arg("--spec")
        .arg(&spec)
        .arg("--output")
        .arg(&output)
        .env("TOUCHLINE__DEVICES__LIST", json!(names).to_string())
        .env("TOUCHLINE__DEVICES__SIM", format!("[{}]", sims.collect::<Vec<_>>().join(", ")))
        .env("TOUCHLINE__DEVICES__SIM_FRAME_MS", format!("{:?}", size.frame_ms))
        .output()?;
    ensure!(run.status.success(), "touchline render: {}", String::from_utf8_lossy(&run.stderr).trim());
    let report: Value = serde_json::from_slice(&run.stdout).context("the report")?;
    let number = |key: &str| report[key].as_f64().with_context(|| format!("the report has no {key}"));
    Ok(Took {
        wall: number("seconds")?,
        device: number("device_seconds")?,
        frames: report["frames_inferred"].as_u64().context("the report has no frames_inferred")?,
    })
}

/// 270x480 from 640x360, a crop that follows, every frame through a device.
fn of_frames(frames: u32) -> Value {
    let seconds = f64::from(frames) / 30.0;
    let crop = |time: f64, x: f64| json!({"time": time, "x": x, "y": 20.0, "width": 180.0, "height": 320.0});
    json!({
        "kind": "framing", "output": {"width": 270, "height": 480}, "detect": {"rule": "none"},
        "clips": [{"start": 0.0, "end": seconds, "crop": [crop(0.0, 20.0), crop(seconds, 300.0)]}],
    })
}
