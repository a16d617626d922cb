//! A disk that is full: at every point that writes, on purpose, and for real on a small filesystem where one may be
//! mounted. Each is a clear refusal or failure; when there is room again, the same request or a retry goes through.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use actors::failpoints::Point;
use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, stream};

use super::flows::{Flow, FlowClient, SLOW, prepared, retry, spec, variables};
use super::test_server::TestServer;
use super::{Finding, Running};
use crate::server::{DATABASE_URL, uses_shared_backends};

/// How thoroughly the disk is filled.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Servers at a time.
    pub at_once: usize,
    /// How often each of the real disks fills up.
    pub disks: u32,
}

impl Size {
    /// For every test run.
    pub const TEST: Self = Self { at_once: 3, disks: 1 };
    /// For a soak.
    pub const SOAK: Self = Self { at_once: 2, disks: 5 };
}

/// Size of the small filesystem, in MiB.
const DISK_MIB: u32 = 24;
/// How long the disk stays full.
const FULL_FOR: Duration = Duration::from_secs(3);
const CODE: &str = "disk_full";

/// Fills the disk at every point, and a real one.
pub fn run(size: Size) -> Running {
    Box::pin(measure(size))
}

async fn measure(size: Size) -> Result<Vec<Finding>> {
    let points = Point::ALL.iter().filter(|point| point.writes());
    let found =
        stream::iter(points).map(|&point| async move { finding(point, full_at(point).await) }).buffered(size.at_once);
    let mut findings: Vec<Finding> = found.collect().await;
    for _ in 0..size.disks {
        findings.extend(real_disks().await);
    }
    Ok(findings)
}

fn finding(point: Point, outcome: Result<String>) -> Finding {
    let (found, met) = match outcome {
        Ok(code) => (format!("{code}, then the same bytes"), code == CODE),
        Err(error) => (format!("{error:#}"), false),
    };
    let asked = format!("{CODE}, then the same bytes, nothing left over");
    Finding::new(format!("disk full at {}", point.name()), asked, found, met)
}

/// The problem code when the disk is full at a point. With room again, the same request succeeds.
async fn full_at(point: Point) -> Result<String> {
    let (mut server, mut client) = prepared(&variables()).await?;
    let (flow, others) = Flow::through(point);
    server.restart(Some(&format!("{others}{}=return(full)", point.name()))).await?;
    let code = client.refused(&server, flow).await?;
    server.restart(None).await?;
    client.run(&server, flow).await.context("with room again")?;
    let orphans = server.orphans().await?;
    ensure!(orphans.is_empty(), "left over: {orphans:?}");
    server.stop()?;
    Ok(code)
}

/// A small filesystem that fills up during an export: with the media alone on it, and with the rows as well.
async fn real_disks() -> Vec<Finding> {
    let asked = format!("{CODE}, then the same bytes by a retry");
    let media = on_a_small_disk(asked, async |disk| {
        let rows = tempfile::tempdir()?;
        let url = format!("sqlite://{}/touchline.db", rows.path().display());
        // Those of PostgreSQL are elsewhere already.
        let elsewhere = (!uses_shared_backends()).then_some((DATABASE_URL, url.as_str()));
        fill_with_rows_elsewhere(disk, elsewhere).await
    });
    let everything = on_a_small_disk("goes on with room, to the same bytes".into(), fill_all);
    let (mut media, mut everything) = (media.await, everything.await);
    media.what = "a real disk that fills up during an export, rows elsewhere".into();
    everything.what = "a real disk that fills up during an export, rows on it too".into();
    vec![media, everything]
}

async fn on_a_small_disk(asked: String, scenario: impl AsyncFn(&SmallDisk) -> Result<String>) -> Finding {
    let disk = match SmallDisk::mount() {
        Ok(disk) => disk,
        Err(error) => return Finding::new("", asked, format!("not tried, mounting is not allowed: {error:#}"), true),
    };
    match scenario(&disk).await {
        Ok(found) => Finding::new("", asked.clone(), found.clone(), found == asked),
        Err(error) => Finding::new("", asked, format!("{error:#}"), false),
    }
}

async fn fill_with_rows_elsewhere(disk: &SmallDisk, elsewhere: Option<(&str, &str)>) -> Result<String> {
    let variables: Vec<_> = variables().into_iter().chain([SLOW]).chain(elsewhere).collect();
    let mut server = TestServer::open_in(&disk.0, &variables).await?;
    let client = FlowClient::prepare(&mut server).await?;
    server.restart(None).await?;
    let ballast = disk.0.join("ballast");
    let export = server.club.start(&spec(&client.video)).await?.id;
    fill(&ballast)?;
    let ended = server.ended(&export).await?;
    let problem = ended.problem.context("the export was quicker than the disk was full")?;
    fs::remove_file(&ballast)?;
    retry(&server, &export).await?;
    check_equal(&mut server, &client, &export).await?;
    Ok(format!("{}, then the same bytes by a retry", problem["code"].as_str().unwrap_or_default()))
}

async fn fill_all(disk: &SmallDisk) -> Result<String> {
    let variables: Vec<_> = variables().into_iter().chain([SLOW]).collect();
    let mut server = TestServer::open_in(&disk.0, &variables).await?;
    let client = FlowClient::prepare(&mut server).await?;
    server.restart(None).await?;
    let ballast = disk.0.join("ballast");
    let export = server.club.start(&spec(&client.video)).await?.id;
    fill(&ballast)?;
    tokio::time::sleep(FULL_FOR).await;
    let state = server.club.export(&export).await?.state;
    ensure!(state != "complete", "the export was quicker than the disk was full");
    fs::remove_file(&ballast)?;
    if server.ended(&export).await?.state == "failed" {
        retry(&server, &export).await?;
    }
    check_equal(&mut server, &client, &export).await?;
    Ok("goes on with room, to the same bytes".into())
}

async fn check_equal(server: &mut TestServer, client: &FlowClient, export: &str) -> Result<()> {
    server.completed(export).await?;
    ensure!(server.result(export).await? == client.expected, "the export has other bytes than before");
    let left = server.orphans().await?;
    ensure!(left.is_empty(), "left over: {left:?}");
    server.stop()
}

/// Writes until nothing more fits.
fn fill(file: &Path) -> Result<()> {
    let mut file = File::create(file)?;
    let mut block = 1 << 20;
    while block > 0 {
        match file.write_all(&vec![0; block]) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => block /= 4,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A filesystem of its own in memory; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let size = format!("size={DISK_MIB}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        let mounted = mounted.context("running mount, of the Debian package mount")?;
        ensure!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr).trim());
        Ok(Self(folder.keep()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // A server that was killed a moment ago may still hold a file.
        for _ in 0..50 {
            if Command::new("umount").arg(&self.0).output().is_ok_and(|done| done.status.success()) {
                // Empty by now; nothing more can be done about one that cannot be removed.
                let _ = fs::remove_dir(&self.0);
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
