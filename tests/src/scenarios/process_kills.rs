//! Render processes that are killed at random moments of an export, and now and then a device process or the template of
//! all processes of a kind. A task that is killed fails alone and is tried again, a device starts another process: every
//! export is complete, with the same bytes, and nothing is left.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::flows::{prepared, spec, variables};
use super::test_server::TestServer;
use super::{Finding, Running};
use crate::process;
use crate::random::Random;

/// How often something is killed, and where the random numbers begin.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub kills: u32,
    pub seed: u64,
}

impl Size {
    /// For every test run.
    pub const TEST: Self = Self { kills: 8, seed: 11 };
    /// For a soak.
    pub const SOAK: Self = Self { kills: 100, seed: 13 };
}

/// An export has some of its processes killed; a segment fails for good only at its third.
const KILLS_AN_EXPORT: u32 = 2;
/// What is killed in turn: tasks mostly.
const VICTIMS: [Victim; 5] =
    [Victim::Task, Victim::Device, Victim::Task, Victim::RenderTemplate, Victim::DeviceTemplate];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Task,
    Device,
    RenderTemplate,
    DeviceTemplate,
}

impl Victim {
    /// Several of them, in the report.
    fn plural(self) -> &'static str {
        match self {
            Self::Task => "tasks",
            Self::Device => "device processes",
            Self::RenderTemplate => "templates of tasks",
            Self::DeviceTemplate => "templates of device processes",
        }
    }
}
/// Longest pause before a kill, in milliseconds: within the length of an export.
const LATEST_KILL: usize = 400;
/// Devices on which an export lasts for about a second.
const SLOW: (&str, &str) = ("TOUCHLINE__DEVICES__SIM_FRAME_MS", "15.0");

/// Descriptors that come and go: of connections of clients and to the database. A task has several, and there are
/// hundreds of tasks.
const IDLE: usize = 16;

/// Kills render processes of a server with simulated devices.
pub fn run(size: Size) -> Running {
    Box::pin(measure(size))
}

async fn measure(size: Size) -> Result<Vec<Finding>> {
    eprintln!("process_kills: seed {}", size.seed);
    let with = [variables().as_slice(), &[SLOW]].concat();
    let (mut server, client) = prepared(&with).await?;
    server.restart(None).await?;
    let mut random = Random::new(size.seed);
    let (mut kills, mut all, mut complete, mut equal) = (0, 0, 0, 0);
    let mut killed: BTreeMap<Victim, u32> = BTreeMap::new();
    let warm = server.club.start(&spec(&client.video)).await?.id;
    server.completed(&warm).await?;
    let before = process::descriptors(server.id()?)?;
    while kills < size.kills {
        let export = server.club.start(&spec(&client.video)).await?.id;
        for _ in 0..KILLS_AN_EXPORT.min(size.kills - kills) {
            tokio::time::sleep(Duration::from_millis(random.below(LATEST_KILL) as u64)).await;
            let victim = VICTIMS[kills as usize % VICTIMS.len()];
            if let Some(process) = running(&server, victim, &export, &mut random).await? {
                process::kill(process)?;
                *killed.entry(victim).or_default() += 1;
                kills += 1;
            }
        }
        // The kills of the next export are to hit its own tasks.
        let ended = server.ended(&export).await?;
        if let Some(problem) = &ended.problem {
            eprintln!("process_kills: {problem}");
        }
        complete += u32::from(ended.state == "complete");
        equal += u32::from(ended.state == "complete" && server.result(&export).await? == client.expected);
        all += 1;
    }
    let orphans = server.orphans().await?;
    let left = process::descriptors(server.id()?)?.saturating_sub(before);
    let killed: Vec<_> = killed.iter().map(|(victim, times)| format!("{times} {}", victim.plural())).collect();
    let what = |what: &str| format!("kill -9 of {}: {what}", killed.join(", "));
    server.stop()?;
    Ok(vec![
        Finding::new(what("exports that complete"), format!("{all} of {all}"), complete.to_string(), complete == all),
        Finding::new(
            what("bytes equal to the undisturbed run's"),
            format!("{all} of {all}"),
            equal.to_string(),
            equal == all,
        ),
        Finding::new(
            what("descriptors of the server that are left"),
            format!("<= {IDLE}: connections that wait"),
            left.to_string(),
            left <= IDLE,
        ),
        Finding::new(what("files without a row"), "0", orphans.len().to_string(), orphans.is_empty()),
    ])
}

/// The process id of what is to be killed; None when the export is over before there is one.
async fn running(server: &TestServer, victim: Victim, export: &str, random: &mut Random) -> Result<Option<u32>> {
    let began = Instant::now();
    loop {
        let id = server.id()?;
        let found = match victim {
            Victim::RenderTemplate => process::render_template(id)?,
            Victim::DeviceTemplate => process::device_template(id)?,
            Victim::Task => child(process::render_template(id)?, random),
            Victim::Device => child(process::device_template(id)?, random),
        };
        if found.is_some() {
            return Ok(found);
        }
        if matches!(server.club.export(export).await?.state.as_str(), "complete" | "failed") {
            return Ok(None);
        }
        ensure!(began.elapsed() < Duration::from_secs(60), "there is no {victim:?}: {}", server.log());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A child of a template, by chance.
fn child(template: Option<u32>, random: &mut Random) -> Option<u32> {
    // A template may end meanwhile.
    let children = process::children(template?).ok()?;
    (!children.is_empty()).then(|| children[random.below(children.len())])
}
