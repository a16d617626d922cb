//! Exports that are cancelled in the middle of a decode and in the middle of an inference: how long it takes until their
//! last render process is gone. A device finishes the batch that it is in.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::flows::{prepared, spec, variables};
use super::test_server::TestServer;
use super::{Finding, Running, millis, p99};
use crate::client::Export;
use crate::process::{children, render_template};
use crate::random::Random;

/// How often an export is cancelled in each of both, where the random numbers begin, and how soon 99 of 100 must be over.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub times: usize,
    pub seed: u64,
    pub over_within: Duration,
}

impl Size {
    /// For every test run, beside others.
    pub const TEST: Self = Self { times: 4, seed: 17, over_within: Duration::from_secs(2) };
    /// For a soak.
    pub const SOAK: Self = Self { times: 100, seed: 19, over_within: Duration::from_millis(100) };
}

/// Longest pause between the first process of an export and its cancellation, in milliseconds.
const LATEST: usize = 150;
const POLL: Duration = Duration::from_millis(1);
/// Devices on which a frame takes longer than a cancellation may.
const SLOW: (&str, &str) = ("TOUCHLINE__DEVICES__SIM_FRAME_MS", "1000.0");

/// Cancels exports of a server with simulated devices.
pub fn run(size: Size) -> Running {
    Box::pin(measure(size))
}

async fn measure(size: Size) -> Result<Vec<Finding>> {
    eprintln!("cancels: seed {}", size.seed);
    let (mut server, client) = prepared(&[variables().as_slice(), &[SLOW]].concat()).await?;
    server.restart(None).await?;
    let mut random = Random::new(size.seed);
    // Encoded so slowly that it is never over before it is cancelled.
    let slowest = json!({"crf": 18, "preset": "veryslow"});
    let decode = json!({"kind": "clip", "video_id": client.video, "start": 0.0, "end": 3.0, "mode": "encode",
                        "output": slowest});
    let mut findings = Vec::new();
    for (what, spec) in [("an inference", spec(&client.video)), ("a decode", decode)] {
        let (took, answered) = cancel_often(&server, &spec, size.times, &mut random).await?;
        let p99 = |all: &[Duration]| p99(all).unwrap_or_default();
        findings.push(Finding::new(
            format!("{} cancellations in the middle of {what}: until the last render process is gone, p99", took.len()),
            format!("<= {} ms", size.over_within.as_millis()),
            format!(
                "{:.1} ms, median {:.1} ms; to the answer {:.1} ms, median {:.1} ms",
                millis(p99(&took)),
                millis(took[took.len() / 2]),
                millis(p99(&answered)),
                millis(answered[answered.len() / 2])
            ),
            p99(&took) <= size.over_within,
        ));
    }
    let orphans = server.orphans().await?;
    findings.push(Finding::new("files without a row", "0", orphans.len().to_string(), orphans.is_empty()));
    server.stop()?;
    Ok(findings)
}

/// Starts and cancels; how long each took until the last process was gone, and until the answer, in ascending order.
async fn cancel_often(
    server: &TestServer,
    spec: &Value,
    times: usize,
    random: &mut Random,
) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let template = render_template(server.id()?)?.context("no template of render processes")?;
    let (mut all, mut answered) = (Vec::new(), Vec::new());
    while all.len() < times {
        let export = server.club.start(spec).await?.id;
        server.until(POLL, || Ok(!children(template)?.is_empty())).await?;
        tokio::time::sleep(Duration::from_millis(random.below(LATEST) as u64)).await;
        let (running, asked) = (!children(template)?.is_empty(), Instant::now());
        let cancelled: Result<Export> = server.club.post(&format!("/exports/{export}/cancel"), &Value::Null).await;
        let answer = asked.elapsed();
        server.until(POLL, || Ok(children(template)?.is_empty())).await?;
        // One that was between two processes, or over, was not cancelled in the middle of anything.
        if running && cancelled.is_ok() {
            all.push(asked.elapsed());
            answered.push(answer);
        }
        server.ended(&export).await?;
    }
    all.sort();
    answered.sort();
    Ok((all, answered))
}
