//! A server that is killed at random moments of a real export, and started again, over and over. Nothing finished may
//! be lost or made again, and the result must be what an undisturbed server makes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::test_server::TestServer;
use super::{Finding, Running};
use crate::ffmpeg::ffmpeg;
use crate::random::Random;
use crate::rows::SegmentRow;

/// How often the server is killed, and where the random numbers begin.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub kills: u32,
    pub seed: u64,
}

impl Size {
    /// For every test run.
    pub const TEST: Self = Self { kills: 6, seed: 5 };
    /// For a soak.
    pub const SOAK: Self = Self { kills: 100, seed: 7 };
}

const WALKERS: &str = "/usr/share/doc/opencv-doc/examples/data/vtest.avi";
/// The server is killed this long after it is ready at most, in milliseconds: within the length of an export.
const LATEST_KILL: usize = 2500;
/// How long after it is ready an export must be seen to go on.
const GOING_ON: Duration = Duration::from_secs(3);

/// What a kill must not change: the segments that were finished then, by export.
type Finished = BTreeMap<String, Vec<SegmentRow>>;

/// Kills a server with real models, on devices that are shares of the processor.
pub fn run(size: Size) -> Running {
    Box::pin(measure(size))
}

async fn measure(size: Size) -> Result<Vec<Finding>> {
    eprintln!("kills: seed {}", size.seed);
    let mut server = TestServer::open(&[
        ("TOUCHLINE__DEVICES__LIST", r#"["cpu:0", "cpu:1"]"#),
        ("TOUCHLINE__SEGMENTS__SECONDS", "0.5"),
    ])
    .await?;
    let folder = tempfile::tempdir()?;
    let video = server.club.upload(&footage(folder.path())?, 1 << 20, |_, _| {}).await?;
    let spec = spec(&video.id);
    let undisturbed = server.club.start(&spec).await?;
    server.completed(&undisturbed.id).await?;
    let expected = server.result(&undisturbed.id).await?;

    let mut seen = Seen { exports: vec![], finished: Finished::new(), slowest: Duration::ZERO };
    kill_often(&mut server, size, &spec, &mut seen).await?;
    judge(&server, size, &seen, &expected).await
}

/// What is remembered over all kills.
struct Seen {
    exports: Vec<String>,
    finished: Finished,
    /// The longest time from a ready server to an export that goes on.
    slowest: Duration,
}

async fn kill_often(server: &mut TestServer, size: Size, spec: &Value, seen: &mut Seen) -> Result<()> {
    let mut random = Random::new(size.seed);
    let mut kills = 0;
    let mut current: Option<String> = None;
    while kills < size.kills {
        let export = match current.take() {
            Some(export) => export,
            None => {
                let export = server.club.start(spec).await?.id;
                seen.exports.push(export.clone());
                export
            }
        };
        tokio::time::sleep(Duration::from_millis(random.below(LATEST_KILL) as u64)).await;
        if server.club.export(&export).await?.state == "complete" {
            continue;
        }
        server.kill()?;
        let finished = server.rows().await?.segments(&export).await?;
        server.restart(None).await?;
        kills += 1;
        seen.slowest = seen.slowest.max(goes_on(server, &export).await?);
        ensure!(finished.len() >= seen.finished.get(&export).map_or(0, Vec::len), "a finished segment is gone");
        seen.finished.insert(export.clone(), finished);
        current = Some(export);
    }
    if let Some(last) = current {
        server.completed(&last).await?;
    }
    Ok(())
}

/// Waits until an export makes a frame again, or ends. Called when the server is ready; how long it took.
async fn goes_on(server: &TestServer, export: &str) -> Result<Duration> {
    let ready = Instant::now();
    loop {
        let now = server.club.export(export).await?;
        // The frame rate is that of this very process.
        if now.fps > 0.0 || matches!(now.state.as_str(), "assembling" | "publishing" | "complete") {
            return Ok(ready.elapsed());
        }
        ensure!(now.state != "failed", "the export failed: {:?}", now.problem);
        ensure!(ready.elapsed() < Duration::from_secs(60), "the export does not go on: {}", server.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn judge(server: &TestServer, size: Size, seen: &Seen, expected: &[u8]) -> Result<Vec<Finding>> {
    let rows = server.rows().await?;
    let (mut complete, mut equal, mut again, mut kept, mut totals_right) = (0, 0, 0, 0, 0);
    for export in &seen.exports {
        let ended = server.ended(export).await?;
        complete += u32::from(ended.state == "complete");
        equal += u32::from(ended.state == "complete" && server.result(export).await? == expected);
        let last = rows.segments(export).await?;
        let before = seen.finished.get(export).map_or(&[][..], Vec::as_slice);
        kept += before.len();
        again += before.iter().filter(|segment| !last.contains(segment)).count();
        let totals = rows.totals(export).await?;
        let sum: f64 = last.iter().map(|segment| segment.device_seconds).sum();
        let report = ended.report.context("a complete export has a report")?;
        let exact = |seconds: f64| (seconds - sum).abs() <= 1e-9 * sum.max(1.0);
        let frames: i64 = last.iter().map(|segment| segment.frames).sum();
        let reported = report["device_seconds"].as_f64().unwrap_or(f64::NAN);
        let frames_right = frames == totals.frames_done && frames == totals.frames_total;
        let seconds = [totals.device_seconds, reported, rows.used(export).await?];
        totals_right += u32::from(frames_right && seconds.into_iter().all(exact));
    }
    let all = seen.exports.len() as u32;
    let orphans = server.orphans().await?;
    let what = |what: &str| format!("kill -9, {} times: {what}", size.kills);
    let seconds = seen.slowest.as_secs_f64();
    Ok(vec![
        Finding::new(what("exports that complete"), format!("{all} of {all}"), complete.to_string(), complete == all),
        Finding::new(
            what("bytes equal to the undisturbed run's"),
            format!("{all} of {all}"),
            equal.to_string(),
            equal == all,
        ),
        Finding::new(what("finished segments made again or changed"), "0", format!("{again} of {kept}"), again == 0),
        Finding::new(
            what("exports whose row, report and account are the sum of their segments"),
            format!("{all} of {all}"),
            totals_right.to_string(),
            totals_right == all,
        ),
        Finding::new(what("files without a row"), "none", format!("{orphans:?}"), orphans.is_empty()),
        Finding::new(
            what("longest wait from ready to going on"),
            "< 3 s",
            format!("{seconds:.2} s"),
            seen.slowest < GOING_ON,
        ),
    ])
}

/// Six seconds of people walking, 10 frames a second, with sound.
fn footage(folder: &Path) -> Result<std::path::PathBuf> {
    let path = folder.join("match.mp4");
    let sound = "sine=frequency=440:duration=6";
    let input = ["-ss", "37", "-t", "6", "-i", WALKERS, "-f", "lavfi", "-i", sound, "-c:v", "libx264", "-c:a", "aac"];
    ffmpeg(input.map(std::ffi::OsStr::new).into_iter().chain([path.as_os_str()]))?;
    Ok(path)
}

/// Two clips, upscaled by the model and searched for players.
fn spec(video: &str) -> Value {
    let crop = |time: f64, x: f64| json!({"time": time, "x": x, "y": 60.0, "width": 270.0, "height": 480.0});
    json!({
        "kind": "framing", "output": {"width": 180, "height": 320, "preset": "veryfast"},
        "upscale": {"quality": "balanced"}, "detect": {"rule": {"every": 0.5}},
        "clips": [
            {"video_id": video, "start": 0.0, "end": 3.5, "crop": [crop(0.0, 200.0), crop(3.5, 260.0)]},
            {"video_id": video, "start": 3.0, "end": 6.0, "crop": [crop(0.0, 240.0)]},
        ],
    })
}
