//! Six simulated devices of which five are broken: an export completes on what is left, with the bytes of a run
//! without faults, and every fault is seen. Then an operator takes devices out and brings them back.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Finding, Running};
use crate::client::{Client, Export};
use crate::footage;
use crate::server::Server;

/// How big the scenario is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Length of the export, in seconds at 30 frames a second.
    pub seconds: u32,
    /// What a simulated device takes for a frame, in milliseconds.
    pub frame_ms: u32,
    /// How much longer than the stall limit something may wait: the interval of the supervisors' check, and a busy machine.
    pub margin: Duration,
}

impl Size {
    /// For tests.
    pub const TEST: Self = Self { seconds: 4, frame_ms: 30, margin: Duration::from_secs(4) };
    /// For `make soak`.
    pub const SOAK: Self = Self { seconds: 30, frame_ms: 50, margin: Duration::from_secs(1) };
}

/// A device that owes a result for so long has stalled.
const STALL: Duration = Duration::from_secs(1);
const DEVICES: [&str; 6] = ["sim:0", "sim:1", "sim:2", "sim:3", "sim:4", "sim:5"];
/// The one that always works.
const GOOD: &str = DEVICES[0];
/// How long anything may take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);

/// Runs it on private servers.
pub fn run(size: Size) -> Running {
    Box::pin(measure(size))
}

async fn measure(size: Size) -> Result<Vec<Finding>> {
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("match.mp4");
    footage::stamped(&source, "30", size.seconds, None, &["-c:v", "libx264", "-preset", "veryfast", "-c:a", "aac"])?;
    let faultless = Node::start(&source, size, "[]").await?;
    let export = faultless.client.render(&faultless.spec(size), |_| {}).await?;
    let bytes = faultless.bytes(&export).await?;
    drop(faultless);

    // In mid-export: each has served a fifth of its share.
    let middle = size.seconds * 30 / DEVICES.len() as u32 / 5;
    let faults = format!(
        r#"[{{device = "sim:1", fault = "error"}}, {{device = "sim:3", fault = "garbage"}},
            {{device = "sim:2", fault = "hang", after = {middle}, times = 1}},
            {{device = "sim:4", fault = "exit"}}, {{device = "sim:5", fault = "grow", times = 3}}]"#
    );
    let node = Node::start(&source, size, &faults).await?;
    let mut findings = five_are_broken(&node, size, &bytes).await?;
    findings.extend(broken_ones_leave(&node).await?);
    findings.extend(an_operator_takes_devices_out(&node, size, &bytes).await?);
    Ok(findings)
}

/// The export completes on what is left.
async fn five_are_broken(node: &Node, size: Size, bytes: &[u8]) -> Result<Vec<Finding>> {
    let mut advanced = Instant::now();
    let (mut longest, mut done) = (Duration::ZERO, None);
    let export = node
        .client
        .render(&node.spec(size), |progress| {
            // Planning and joining do not wait for devices.
            if progress.state == "rendering" && done != Some(progress.frames_done) {
                longest = longest.max(done.map_or(Duration::ZERO, |_| advanced.elapsed()));
                (done, advanced) = (Some(progress.frames_done), Instant::now());
            }
        })
        .await?;
    let equal = node.bytes(&export).await? == bytes;
    let mut findings = vec![
        Finding::new(
            "1 device errs, 1 hangs in mid-export, 1 returns garbage, 1 exits, 1 takes all memory it may, 1 works: bytes against no faults",
            "equal",
            if equal { "equal" } else { "different" },
            equal,
        ),
        Finding::new(
            "longest time without a finished frame",
            format!(
                "<= {:.1} s (the stall limit of {:.0} s and a margin)",
                (STALL + size.margin).as_secs_f64(),
                STALL.as_secs_f64()
            ),
            format!("{:.2} s", longest.as_secs_f64()),
            longest <= STALL + size.margin,
        ),
    ];
    let failed = node.client.metric("touchline_job_failures_total").await?;
    findings.push(Finding::new(
        "segments that failed: batches go to other devices",
        "0",
        format!("{failed}"),
        failed == 0.0,
    ));
    for (device, fault, metric, says) in [
        ("sim:1", "errs", "touchline_device_faults_total", "a fault on purpose"),
        ("sim:2", "hangs", "touchline_device_stalls_total", "no answer within"),
        ("sim:3", "returns garbage", "touchline_device_faults_total", "was asked for"),
        ("sim:4", "exits", "touchline_device_faults_total", "ended with status 3"),
        ("sim:5", "takes all memory it may", "touchline_device_faults_total", "SIGABRT"),
    ] {
        let counted = node.client.metric_of(metric, &[("device", device)]).await?;
        let error = node.state(device).await?["last_error"].to_string();
        findings.push(Finding::new(
            format!("{device}, which {fault}: {metric}, and its last error in /admin/devices"),
            format!("at least 1, \"{says}\" or a canary's"),
            format!("{counted}, {error}"),
            counted >= 1.0 && (error.contains(says) || error.contains("canary")),
        ));
    }
    let hung = node.state("sim:2").await?["hung_threads"].clone();
    findings.push(Finding::new("threads that wait for the process that hung", "0", hung.to_string(), hung == 0));
    let good = node.client.metric_of("touchline_device_faults_total", &[("device", GOOD)]).await?;
    findings.push(Finding::new(format!("faults of {GOOD}, which works"), "0", format!("{good}"), good == 0.0));
    Ok(findings)
}

/// Repeated faults take a device out of service, and the one that hung once comes back.
async fn broken_ones_leave(node: &Node) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    // One that comes back is ready as soon as it has served a batch.
    let (out, back): (&[&str], &[&str]) = (&["out_of_service"], &["suspect", "ready"]);
    for (device, wanted) in [("sim:1", out), ("sim:3", out), ("sim:4", out), ("sim:2", back), ("sim:5", back)] {
        let reached = |health: &str| wanted.contains(&health);
        let health = node.health_becomes(device, reached).await?;
        let asked = wanted.join(" or ");
        findings.push(Finding::new(format!("{device}: health afterwards"), asked, health.clone(), reached(&health)));
    }
    let (status, readiness) = node.readiness().await?;
    let named = ["sim:1", "sim:3", "sim:4"]
        .iter()
        .all(|device| strings(&readiness["degraded"]).contains(&(*device).to_owned()));
    findings.push(Finding::new(
        "/readyz while three devices are out",
        "200, and names them",
        format!("{status}, degraded: {}", readiness["degraded"]),
        status == StatusCode::OK && named,
    ));
    Ok(findings)
}

/// Drain, disable and enable under an export; the last device's export goes on, and none loses anything.
async fn an_operator_takes_devices_out(node: &Node, size: Size, bytes: &[u8]) -> Result<Vec<Finding>> {
    let started = node.client.start(&node.spec(size)).await?;
    node.wait(|| async { Ok(node.client.export(&started.id).await?.frames_done > 0) }).await?;
    for device in ["sim:1", "sim:3", "sim:4", "sim:5"] {
        node.operate(device, "disable").await?;
    }
    node.operate("sim:2", "drain").await?;
    let drained = node.health_becomes("sim:2", |health| health == "disabled").await?;
    let in_hand = node.state("sim:2").await?["in_hand"].clone();
    let mut findings = vec![Finding::new(
        "a device is drained under an export",
        "disabled, nothing in hand",
        format!("{drained}, {in_hand} in hand"),
        drained == "disabled" && in_hand == 0,
    )];

    node.operate(GOOD, "disable").await?;
    let (status, _) = node.readiness().await?;
    let before = node.client.metric("touchline_device_frames_total").await?;
    tokio::time::sleep(STALL).await;
    let after = node.client.metric("touchline_device_frames_total").await?;
    let state = node.client.export(&started.id).await?.state;
    findings.push(Finding::new(
        "the last device is disabled: /readyz, and the export",
        "503, waits",
        format!("{status}, {state}, {} frames served meanwhile", after - before),
        status == StatusCode::SERVICE_UNAVAILABLE && state == "rendering" && after == before,
    ));

    node.operate(GOOD, "enable").await?;
    node.client.watch(&started.id, |_| {}).await?;
    let export = node.client.export(&started.id).await?;
    let equal = export.state == "complete" && node.bytes(&export).await? == bytes;
    let only = node.health_becomes(GOOD, |health| health == "ready").await?;
    findings.push(Finding::new(
        "the last device is enabled again: the export, its bytes, the device",
        "complete, equal, ready",
        format!("{}, {}, {only}", export.state, if equal { "equal" } else { "different" }),
        equal && only == "ready",
    ));
    Ok(findings)
}

/// Cancelling takes effect within one batch: what a device runs finishes, nothing else begins.
pub fn cancel() -> Running {
    Box::pin(measure_cancelling())
}

async fn measure_cancelling() -> Result<Vec<Finding>> {
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("match.mp4");
    footage::stamped(&source, "30", 4, None, &["-c:v", "libx264", "-preset", "veryfast", "-c:a", "aac"])?;
    let size = Size { seconds: 4, frame_ms: 400, margin: Duration::ZERO };
    let node = Node::start(&source, size, "[]").await?;
    let started = node.client.start(&node.spec(size)).await?;
    let served = || node.client.metric("touchline_device_frames_total");
    node.wait(|| async { Ok(served().await? > 0.0) }).await?;
    let cancelled = node.client.request(Method::POST, &format!("/exports/{}/cancel", started.id)).send().await?;
    ensure!(cancelled.status().is_success(), "cancelling answers {}", cancelled.status());
    let before = served().await?;
    node.wait(|| async {
        let devices: Value = node.operator.get("/admin/devices").await?;
        let in_hand = devices["items"].as_array().context("devices")?.iter().map(|device| device["in_hand"].as_u64());
        Ok(in_hand.flatten().sum::<u64>() == 0)
    })
    .await?;
    let more = served().await? - before;
    let state = node.client.export(&started.id).await?.state;
    Ok(vec![Finding::new(
        "frames served after an export on 6 devices was cancelled, 400 ms a frame",
        "at most 6, or 2 of a device that ends a batch just then; cancelled",
        format!("{more}, {state}"),
        more < 2.0 * DEVICES.len() as f64 && state == "cancelled",
    )])
}

/// A server with simulated devices, and who talks to it.
struct Node {
    server: Server,
    client: Client,
    operator: Client,
    video: String,
    folder: TempDir,
}

impl Node {
    async fn start(source: &Path, size: Size, faults: &str) -> Result<Self> {
        let (list, frame_ms) = (json!(DEVICES).to_string(), size.frame_ms.to_string());
        let stall = STALL.as_secs().to_string();
        let server = Server::start(&[
            ("TOUCHLINE__DEVICES__LIST", &list),
            ("TOUCHLINE__DEVICES__SIM", faults),
            ("TOUCHLINE__DEVICES__SIM_FRAME_MS", &frame_ms),
            ("TOUCHLINE__DEVICES__STALL_SECONDS", &stall),
            ("TOUCHLINE__DEVICES__MEMORY_MB", "256"),
            ("TOUCHLINE__SEGMENTS__SECONDS", "1"),
        ])
        .await?;
        let editor = server.account("club", "coach@club.example", "editor")?;
        let operator = server.account("house", "operator@house.example", "operator")?;
        let client = Client::log_in(&server.url(), &editor.email, &editor.password).await?;
        let operator = Client::log_in(&server.url(), &operator.email, &operator.password).await?;
        let video = client.upload(source, 1 << 20, |_, _| {}).await?.id;
        Ok(Self { server, client, operator, video, folder: tempfile::tempdir()? })
    }

    /// Every frame goes through a device.
    fn spec(&self, size: Size) -> Value {
        json!({
            "kind": "framing", "output": {"width": 180, "height": 320, "preset": "ultrafast"}, "detect": {"rule": "none"},
            "clips": [{"video_id": self.video, "start": 0.0, "end": size.seconds,
                "crop": [{"time": 0.0, "x": 20.0, "y": 20.0, "width": 90.0, "height": 160.0},
                         {"time": size.seconds, "x": 300.0, "y": 20.0, "width": 90.0, "height": 160.0}]}],
        })
    }

    async fn bytes(&self, export: &Export) -> Result<Vec<u8>> {
        let file: PathBuf = self.folder.path().join(&export.id);
        self.client.download(&export.id, &file).await?;
        Ok(std::fs::read(file)?)
    }

    /// A device in `/admin/devices`.
    async fn state(&self, device: &str) -> Result<Value> {
        let devices: Value = self.operator.get("/admin/devices").await?;
        let all = devices["items"].as_array().context("the answer has no items")?;
        let found = all.iter().find(|one| one["id"] == device);
        found.cloned().with_context(|| format!("{device} is not there: {devices}"))
    }

    async fn operate(&self, device: &str, operation: &str) -> Result<Value> {
        self.operator.post(&format!("/admin/devices/{device}/{operation}"), &Value::Null).await
    }

    async fn readiness(&self) -> Result<(StatusCode, Value)> {
        let answer = reqwest::get(format!("{}/readyz", self.server.url())).await?;
        Ok((answer.status(), answer.json().await?))
    }

    /// Waits until a device's health is as wanted; its health then, or the last one when it never is.
    async fn health_becomes(&self, device: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let health = self.state(device).await?["health"].as_str().unwrap_or_default().to_owned();
            if wanted(&health) || Instant::now() > deadline {
                return Ok(health);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn wait<F: Future<Output = Result<bool>>>(&self, until: impl Fn() -> F) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !until().await? {
            ensure!(Instant::now() < deadline, "nothing happens: {}", self.server.log());
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
