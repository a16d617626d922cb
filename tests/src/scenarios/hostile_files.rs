//! Files that are made to hurt: each is answered in time with its code, memory stays bounded, and another tenant is served
//! meanwhile. A file whose index ends the server is given up after the third time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use media::testing::hostile::{Answer, HostileFile, files};
use reqwest::StatusCode;
use serde_json::Value;

use super::flows::{prepared, variables};
use super::memory::Memory;
use super::{Finding, Running, millis, p99};
use crate::client::{Client, Refusal};
use crate::process::{children, render_template};
use crate::server::Server;

/// How thoroughly it is tried.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// How often every file is uploaded.
    pub rounds: usize,
    /// Calls of the other tenant before the first file, to compare with.
    pub idle_calls: usize,
    /// What the other tenant's calls may take of their idle time, 99 of 100 of them.
    pub slowdown: f64,
    /// How often the server is killed while a file is indexed.
    pub kills: usize,
    /// How soon it serves again.
    pub serves_within: Duration,
}

impl Size {
    /// For every test run, beside others: no times.
    pub const TEST: Self =
        Self { rounds: 1, idle_calls: 1, slowdown: f64::INFINITY, kills: 3, serves_within: Duration::MAX };
    /// For a soak.
    pub const SOAK: Self =
        Self { rounds: 20, idle_calls: 500, slowdown: 2.0, kills: 10, serves_within: Duration::from_secs(3) };
}

/// How long the answer to the last piece of an upload may take.
const ANSWER: Duration = Duration::from_secs(10);
/// Memory of the server alone, and with its processes, in bytes: a gigabyte, and `processes.memory_mb` for the one that reads.
const SERVER_MEMORY: f64 = 1e9;
const MEMORY: f64 = SERVER_MEMORY + 2.0 * 1024.0 * 1024.0 * 1024.0;
/// Pause between two calls of the other tenant.
const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);
/// Keeps the process that indexes a file in an endless loop.
const POISON: &str = "task-index=return(loop)";
/// After so many ends of the server an index is not begun again.
const GIVEN_UP_AFTER: usize = 3;

/// Uploads the files, then kills a server that indexes one.
pub fn run(size: Size) -> Running {
    Box::pin(async move {
        let mut findings = uploads(size).await?;
        findings.extend(restarts(size).await?);
        Ok(findings)
    })
}

/// A user who may upload, logged in.
///
/// # Errors
/// When the server makes no account, or does not let it in.
pub async fn editor(server: &Server, tenant: &str) -> Result<Client> {
    let account = server.account(tenant, &format!("coach@{tenant}.example"), "editor")?;
    Client::log_in(&server.url(), &account.email, &account.password).await
}

async fn uploads(size: Size) -> Result<Vec<Finding>> {
    let server = Server::start(&[("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#)]).await?;
    let (club, other) = (editor(&server, "hostile").await?, editor(&server, "other").await?);
    let mut idle = Vec::new();
    while idle.len() < size.idle_calls {
        idle.push(call(&other).await?);
    }
    idle.sort();

    let (memory, done) = (Memory::watch(server.id()), Arc::new(AtomicBool::new(false)));
    let reading = tokio::spawn({
        let done = Arc::clone(&done);
        async move {
            let mut calls = Vec::new();
            while !done.load(Ordering::SeqCst) {
                calls.push(call(&other).await?);
            }
            calls.sort();
            anyhow::Ok(calls)
        }
    });
    let files = files();
    let mut wrong = Vec::new();
    for file in files.iter().cycle().take(size.rounds * files.len()) {
        wrong.extend(send(&club, file).await?);
    }
    done.store(true, Ordering::SeqCst);
    let calls = reading.await??;
    let (memory, alone) = (memory.end().most(), most_resident(server.id())?);
    ensure!(!server.log().contains("panicked"), "{}", server.log());

    let (p99_idle, p99_beside) = (millis(p99(&idle).unwrap_or_default()), millis(p99(&calls).unwrap_or_default()));
    let asked = if size.slowdown.is_finite() { format!("<= {}x idle", size.slowdown) } else { "measured".into() };
    Ok(vec![
        Finding::new(
            format!("{} hostile files, uploaded {} times each", files.len(), size.rounds),
            format!("each is answered as it should be within {} s", ANSWER.as_secs()),
            if wrong.is_empty() { "all".to_owned() } else { wrong.join("; ") },
            wrong.is_empty() && files.len() >= 40,
        ),
        Finding::new(
            format!("{} calls of another tenant meanwhile, p99", calls.len()),
            asked,
            format!("{p99_beside:.1} ms, {:.2}x of {p99_idle:.1} ms", p99_beside / p99_idle),
            !calls.is_empty() && p99_beside <= size.slowdown * p99_idle,
        ),
        Finding::new(
            "memory of the server alone; with its processes",
            "<= 1 GB; <= 1 GB and processes.memory_mb",
            format!("{:.0} MB; {:.0} MB", alone / 1e6, memory / 1e6),
            alone <= SERVER_MEMORY && memory <= MEMORY,
        ),
    ])
}

/// The most memory that a process has had, in bytes.
fn most_resident(process: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM")?;
    Ok(line.split_whitespace().nth(1).context("no number")?.parse::<f64>()? * 1024.0)
}

async fn call(other: &Client) -> Result<Duration> {
    tokio::time::sleep(PAUSE).await;
    let began = Instant::now();
    other.get::<Value>("/videos").await.context("another tenant is not answered")?;
    Ok(began.elapsed())
}

/// Uploads a file in one piece, so that what is measured is the answer to it. What was wrong with the answer.
async fn send(club: &Client, file: &HostileFile) -> Result<Option<String>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join(file.name);
    std::fs::write(&path, &file.bytes)?;
    let began = Instant::now();
    let sent = club.send(&path, file.bytes.len(), |_, _| {}).await;
    let took = began.elapsed();
    let answer = match sent {
        Ok(_) => "accepted".to_owned(),
        Err(error) => {
            let Refusal { status, problem } = error.downcast::<Refusal>()?;
            ensure!(status == StatusCode::UNPROCESSABLE_ENTITY, "{}: {status}: {problem}", file.name);
            let explained = problem["detail"].as_str().is_some_and(|detail| !detail.is_empty());
            ensure!(explained, "{}: {problem}", file.name);
            problem["code"].as_str().unwrap_or_default().to_owned()
        }
    };
    let right = match file.answer {
        Answer::Refused(codes) => codes.contains(&answer.as_str()),
        Answer::Either => true,
    };
    let wrong = !right || took >= ANSWER;
    Ok(wrong.then(|| format!("{} ({}): {answer} after {took:?}", file.name, file.what)))
}

async fn restarts(size: Size) -> Result<Vec<Finding>> {
    let (mut server, client) = prepared(&variables()).await?;
    server.restart(Some(POISON)).await?;
    let file = server.data_dir().with_file_name("poison.mp4");
    std::fs::write(&file, &client.source)?;
    let video = server.club.send(&file, client.source.len(), |_, _| {}).await?;
    let mut slowest = Duration::ZERO;
    for kill in 0..size.kills {
        if kill < GIVEN_UP_AFTER {
            let template = render_template(server.id()?)?.context("no template of render processes")?;
            server.until(PAUSE, || Ok(!children(template)?.is_empty())).await?;
        }
        server.kill()?;
        let began = Instant::now();
        server.restart(Some(POISON)).await?;
        let _: Value = server.club.get("/videos").await?;
        slowest = slowest.max(began.elapsed());
    }
    let deadline = Instant::now() + PATIENCE;
    let row = loop {
        let row: Value = server.club.get(&format!("/videos/{video}")).await?;
        if row["state"] != "processing" || Instant::now() > deadline {
            break row;
        }
        tokio::time::sleep(PAUSE).await;
    };
    let detail = row["problem"]["detail"].as_str().unwrap_or_default();
    let given_up = row["state"] == "failed" && row["problem"]["code"] == "unreadable" && detail.contains("3 times");
    server.stop()?;
    Ok(vec![
        Finding::new(
            format!(
                "a server killed {} times, the first {GIVEN_UP_AFTER} while a file is indexed: serves again",
                size.kills
            ),
            if size.serves_within == Duration::MAX { "measured".to_owned() } else { "<= 3 s".to_owned() },
            format!("{:.2} s at most", slowest.as_secs_f64()),
            slowest <= size.serves_within,
        ),
        Finding::new("the file", "failed after its third time", format!("{}: {detail}", row["state"]), given_up),
    ])
}
