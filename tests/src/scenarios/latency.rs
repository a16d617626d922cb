//! Detection of single frames while exports keep every device busy: each call waits for a running batch at most.

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;

use super::crowd::{self, Club};
use super::{Finding, Running};

/// How big the scenario is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// What a simulated device takes for a frame, in milliseconds.
    pub frame_ms: f64,
    /// Calls for a single frame.
    pub calls: usize,
}

impl Size {
    /// For tests.
    pub const TEST: Self = Self { frame_ms: 200.0, calls: 200 };
    /// For `make soak`.
    pub const SOAK: Self = Self { frame_ms: 200.0, calls: 1000 };
}

const DEVICES: u32 = 4;
/// Length of an export, in seconds.
const SECONDS: u32 = 20;
/// Users who call, one frame after the other.
const PEOPLE: usize = 3;

pub fn run(size: Size) -> Running {
    Box::pin(measure(size))
}

async fn measure(size: Size) -> Result<Vec<Finding>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    crowd::footage(&file, SECONDS)?;
    let (server, _) = crowd::server(DEVICES, size.frame_ms).await?;
    let (busy, other) = (crowd::club(&server, "busy", &file).await?, crowd::club(&server, "other", &file).await?);
    // As many seconds of footage as there are calls, far more work than the calls take.
    let exports = size.calls.div_ceil(SECONDS as usize);
    for _ in 0..exports {
        busy.start(SECONDS).await?;
    }
    while queued(&server).await? < f64::from(DEVICES) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Two people of the tenant whose queue is full, and one of another.
    let people = [&busy, &busy, &other];
    let calls = (0..PEOPLE).map(|person| detect_often(people[person], size.calls.div_ceil(PEOPLE)));
    let mut timings: Vec<Timing> = try_join_all(calls).await?.into_iter().flatten().collect();
    let still_queued = queued(&server).await?;
    timings.sort_by(|a, b| a.waited.total_cmp(&b.waited));
    let batch = timings.iter().map(|timing| timing.device).sum::<f64>() / timings.len() as f64;
    let waits: Vec<f64> = timings.iter().map(|timing| timing.waited).collect();
    let p99 = super::p99(&waits).context("nothing was timed")?;
    let median = timings[timings.len() / 2].waited;
    Ok(vec![
        Finding::new(
            format!("{} single frames while the queue is full: p99 of the wait for a device", timings.len()),
            "<= 1.2 batch times, at least 200 calls",
            format!("{:.2} batch times ({p99:.0} of {batch:.0} ms, median {median:.0} ms)", p99 / batch),
            p99 <= 1.2 * batch && timings.len() >= 200,
        ),
        Finding::new(
            "frames of exports that still waited when the last single frame was answered",
            format!(">= {DEVICES}"),
            format!("{still_queued:.0}"),
            still_queued >= f64::from(DEVICES),
        ),
    ])
}

/// Frames that wait, of all tenants.
async fn queued(server: &crate::server::Server) -> Result<f64> {
    Ok(crowd::metric_by(server, "touchline_queue_frames", "tenant").await?.values().sum())
}

/// What the server says of one call, in milliseconds.
struct Timing {
    waited: f64,
    device: f64,
}

async fn detect_often(club: &Club, calls: usize) -> Result<Vec<Timing>> {
    let mut timings = Vec::with_capacity(calls);
    for call in 0..calls {
        let frame = call as u32 % (SECONDS * crowd::FPS);
        let answer = club.detect(frame).await?;
        let timing = answer.headers().get("server-timing").context("the answer has no Server-Timing")?.to_str()?;
        let of = |name: &str| {
            let entry = timing.split(", ").find_map(|entry| entry.strip_prefix(name)?.strip_prefix(";dur="));
            entry.and_then(|text| text.parse::<f64>().ok()).with_context(|| format!("no {name} in {timing}"))
        };
        timings.push(Timing { waited: of("queue")?, device: of("device")? });
    }
    Ok(timings)
}
