//! A crowd: hundreds of tenants whose queues are full, and hundreds of listeners, for a while.
//!
//! Every tenant fills its queue to its limit and keeps it full, reads, cancels and deletes; every listener hears of all
//! its tenant's exports. Devices are simulated, so that the load is on everything else. In the end the server is stopped
//! with its queue full, and started again to see that nothing was lost.

mod club;
mod listener;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::memory::Memory;
use super::{Finding, Running};
use crate::client::Client;
use crate::ffmpeg::ffmpeg;
use crate::server::Server;
use club::{Club, Tally};
use listener::Listener;

/// How large the crowd is, and how long it stays.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub tenants: usize,
    /// Exports that each tenant keeps waiting or at work: its limit.
    pub queue: usize,
    pub listeners: usize,
    /// From the moment every queue is full.
    pub lasts: Duration,
}

impl Size {
    pub const TEST: Self = Self { tenants: 100, queue: 10, listeners: 250, lasts: Duration::from_secs(20) };
    pub const SOAK: Self = Self { tenants: 200, queue: 10, listeners: 500, lasts: Duration::from_secs(600) };
}

/// Simulated devices, and what each waits for a frame: four exports of ten frames a second, which leaves most of a
/// small machine to the crowd.
const DEVICES: &str = r#"["sim:0", "sim:1", "sim:2", "sim:3"]"#;
const FRAME_MS: &str = "100";

const OPERATOR: (&str, &str) = ("operator@deployment.example", "run the deployment");
/// Accounts that are made side by side: passwords are slow to hash.
const AT_ONCE: usize = 8;
/// How long the last messages may take to arrive.
const HEARD_WITHIN: Duration = Duration::from_secs(30);
/// How long a stop may take.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Growth of the server's memory, from the second third of the time to the last, that counts as none.
const FLAT: f64 = 1.1;

/// Runs the crowd for as long as asked.
///
/// # Errors
/// When the crowd cannot be gathered, or the server does not start again.
pub fn run(size: Size) -> Running {
    Box::pin(measure(size))
}

async fn measure(size: Size) -> Result<Vec<Finding>> {
    let folder = tempfile::tempdir()?;
    let limit = size.queue.to_string();
    let variables = [
        ("TOUCHLINE__DEVICES__LIST", DEVICES),
        ("TOUCHLINE__DEVICES__SIM_FRAME_MS", FRAME_MS),
        ("TOUCHLINE__LIMITS__QUEUED_EXPORTS", &limit),
        // Tokens outlast the crowd.
        ("TOUCHLINE__AUTH__ACCESS_MINUTES", "120"),
        ("TOUCHLINE_ADMIN_EMAIL", OPERATOR.0),
        ("TOUCHLINE_ADMIN_PASSWORD", OPERATOR.1),
    ];
    let arriving = Instant::now();
    let server = Server::start_in(folder.path(), &variables).await?;
    let mut clubs = gather(&server, folder.path(), size.tenants).await?;
    let places = (0..size.listeners).map(|number| number % clubs.len());
    let listeners: Vec<Listener> = stream::iter(places)
        .map(|place| Listener::open(place, &clubs[place].client))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;

    eprintln!(
        "  {} clubs and {} listeners came in {:.1} s",
        clubs.len(),
        listeners.len(),
        arriving.elapsed().as_secs_f64()
    );

    let began = Instant::now();
    clubs = club::all(clubs, |mut club| async move {
        club.fill().await;
        club
    })
    .await?;
    let filled = began.elapsed();
    eprintln!("  their queues are full after {:.1} s", filled.as_secs_f64());
    let memory = Memory::watch(server.id());
    let until = Instant::now() + size.lasts;
    clubs = club::all(clubs, move |mut club| async move {
        club.stay(until).await;
        club
    })
    .await?;
    let memory = memory.end();
    eprintln!("  they stayed {:.1} s longer", began.elapsed().as_secs_f64() - filled.as_secs_f64());

    let mut findings = Vec::new();
    let mut tally = Tally::default();
    let heard = all_heard(&mut clubs, &listeners).await?;
    let (server, stopped) = stop(server).await?;
    let quiet = quiet(&server.log());
    eprintln!("  the server has stopped; it starts again");
    drop(server);
    let server = Server::start_in(folder.path(), &variables).await.context("starting again")?;
    let mut kept = Vec::new();
    for club in &mut clubs {
        club.client = club.client.at(&server.url());
        kept.extend(club.missing().await?);
        tally.add(&club.tally);
    }
    findings.push(answers(size, &tally, filled));
    findings.push(heard);
    findings.push(memory_is_flat(&memory));
    findings.push(stopped);
    findings.push(quiet);
    findings.push(Finding::new(
        "the server, started again after that stop",
        "has every export that was accepted, none failed",
        if kept.is_empty() { format!("all {} are there", tally.started - tally.deleted) } else { kept.join("; ") },
        kept.is_empty(),
    ));
    Ok(findings)
}

/// Makes the tenants with a user and a video each.
async fn gather(server: &Server, folder: &Path, tenants: usize) -> Result<Vec<Club>> {
    let video = folder.join("match.mp4");
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=10:duration=1", "-pix_fmt", "yuv420p"];
    ffmpeg(picture.map(std::ffi::OsStr::new).into_iter().chain([video.as_os_str()]))?;
    let operator = Client::log_in(&server.url(), OPERATOR.0, OPERATOR.1).await?;
    let clubs = stream::iter(0..tenants).map(|number| join(&operator, server, number, &video));
    clubs.buffered(AT_ONCE).try_collect().await
}

async fn join(operator: &Client, server: &Server, number: usize, video: &Path) -> Result<Club> {
    let (email, password) = (format!("coach@club-{number}.example"), format!("password of {number}"));
    let tenant: Value = operator.post("/admin/tenants", &json!({"name": format!("club {number}")})).await?;
    let user = json!({"tenant_id": tenant["id"], "email": email, "password": password, "role": "editor"});
    let _: Value = operator.post("/admin/users", &user).await?;
    let client = Client::log_in(&server.url(), &email, &password).await?;
    let video = client.upload(video, 1 << 20, |_, _| {}).await?;
    Ok(Club::new(client, video.id))
}

fn answers(size: Size, tally: &Tally, filled: Duration) -> Finding {
    let Size { tenants, queue, lasts, .. } = size;
    let what = format!(
        "{tenants} tenants keep {} exports waiting or at work for {} s: requests",
        tenants * queue,
        lasts.as_secs()
    );
    let mut found = format!(
        "{} requests, {} exports accepted (the first {} in {:.1} s), {} refused at the limit, {} errors",
        tally.requests,
        tally.started,
        tenants * queue,
        filled.as_secs_f64(),
        tally.refused,
        tally.errors.len()
    );
    for error in tally.errors.iter().take(5) {
        found.push_str(&format!("; {error}"));
    }
    // Who is never refused has not filled its queue.
    let met = tally.errors.is_empty() && tally.refused >= tenants as u64;
    Finding::new(what, "no error but 429 at the limit", found, met)
}

/// Waits until every listener has heard of the end of each of its tenant's exports that has ended.
async fn all_heard(clubs: &mut [Club], listeners: &[Listener]) -> Result<Finding> {
    for club in clubs.iter_mut() {
        club.note_ended().await?;
    }
    let missing = || {
        let missed = |listener: &Listener| listener.missed(&clubs[listener.place].ended);
        listeners.iter().map(missed).sum::<usize>()
    };
    let deadline = Instant::now() + HEARD_WITHIN;
    while missing() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let due: usize = listeners.iter().map(|listener| clubs[listener.place].ended.len()).sum();
    let ended: usize = clubs.iter().map(|club| club.ended.len()).sum();
    let faults: Vec<String> = listeners.iter().filter_map(Listener::fault).collect();
    let mut found = format!("{} of {due} messages, of {ended} exports", due - missing());
    for fault in faults.iter().take(5) {
        found.push_str(&format!("; {fault}"));
    }
    let met = missing() == 0 && due > 0 && faults.is_empty();
    let what = format!("{} WebSocket listeners: terminal messages", listeners.len());
    Ok(Finding::new(what, "each one delivered, progress never goes back, no socket lost", found, met))
}

fn memory_is_flat(memory: &Memory) -> Finding {
    let (before, after) = memory.thirds();
    let found =
        format!("{:.0} MB, then {:.0} MB ({:+.1} %)", before / 1e6, after / 1e6, (after / before - 1.0) * 100.0);
    let what = "resident memory of server and processes, median of the second third of that time and of the last";
    Finding::new(what, "grows by at most 10 %", found, before > 0.0 && after <= before * FLAT)
}

/// Stops the server while all queues are full and all sockets are open.
async fn stop(mut server: Server) -> Result<(Server, Finding)> {
    let began = Instant::now();
    let (server, status) = tokio::task::spawn_blocking(move || {
        let status = server.stop();
        (server, status)
    })
    .await?;
    let (status, took) = (status?, began.elapsed());
    let met = status.success() && took < STOP_WITHIN;
    let found = format!("{:.1} s, {status}", took.as_secs_f64());
    Ok((
        server,
        Finding::new("SIGTERM with all queues full and all sockets open", "ends in 10 s, exit code 0", found, met),
    ))
}

/// What the server itself thought was wrong.
fn quiet(log: &str) -> Finding {
    let wrong: Vec<&str> = log.lines().filter(|line| line.contains("ERROR") || line.contains("panicked")).collect();
    let found = match wrong.first() {
        None => format!("none in {} lines", log.lines().count()),
        Some(first) => format!("{} lines, the first: {first}", wrong.len()),
    };
    Finding::new("errors and panics in the server's log", "none", found, wrong.is_empty())
}
