//! One tenant attacks from all sides at once while another one works on the same server, and the one that works must
//! not suffer.
//!
//! The hostile tenant keeps single frames in detection, has webhooks whose receiver accepts a connection and never
//! answers, leaves uploads open, asks for far more WebSockets than it may have, guesses passwords of its own and of the
//! other tenant's users, and starts exports of the largest spec that is allowed.
//!
//! The export of the tenant that works is compared with its fair time: what the same export takes beside one plain
//! export of the other tenant, measured in the same run on a server of its own with the same simulated devices. Both
//! tenants share the devices evenly in both cases, so the ratio is what the attack adds. Twice the time alone would
//! leave out what a second tenant costs beside devices.

mod hostile;
mod tally;
mod work;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::crowd::{self, Club};
use super::memory::Memory;
use super::{Finding, Running};
use crate::server::{Server, metrics};
use hostile::Attack;

/// How big the scenario is. Ten people each do a tenth of the uploads, sockets and logins.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Length of the export of the tenant that works, which is also its fair time, in seconds.
    pub seconds: u32,
    /// Webhooks whose receiver never answers, 20 at most.
    pub tarpits: usize,
    pub uploads: usize,
    /// Attempts to open a WebSocket: more than the 50 that a user may have.
    pub sockets: usize,
    /// Wrong passwords for two accounts: more than the ten for each that are checked.
    pub logins: usize,
    /// Exports of the largest spec.
    pub exports: usize,
    /// How soon 99 of 100 calls of the tenant that works have to be answered.
    pub answered_within: Duration,
}

impl Size {
    /// For tests.
    pub const TEST: Self = Self {
        seconds: 10,
        tarpits: 5,
        uploads: 50,
        sockets: 200,
        logins: 40,
        exports: 5,
        answered_within: Duration::from_secs(1),
    };
    /// For `make soak`.
    pub const SOAK: Self = Self {
        seconds: 60,
        tarpits: 20,
        uploads: 200,
        sockets: 2000,
        logins: 80,
        exports: 20,
        answered_within: Duration::from_millis(300),
    };
}

/// Half of the devices serve a second of footage in a second.
const DEVICES: u32 = 2;
const FRAME_MS: f64 = 1000.0 / crowd::FPS as f64;
/// Receivers are on this machine, and guesses of passwords name the address that they come from.
const VARIABLES: [(&str, &str); 2] =
    [("TOUCHLINE__WEBHOOKS__ALLOW_PRIVATE", "true"), ("TOUCHLINE__SERVER__TRUSTED_PROXIES", r#"["127.0.0.1"]"#)];

/// What the export may take of its fair time.
const SLOWDOWN: f64 = 1.3;
/// How soon a webhook has its message, in seconds.
const TOLD_WITHIN: f64 = 5.0;
/// Bytes of `/metrics`, and of the memory of the server and its processes.
const METRICS: usize = 1_000_000;
const MEMORY: f64 = 1e9;
/// Calls of which the slowest hundredth says something.
const LEAST_CALLS: usize = 100;
/// How long what must happen at all may take.
const PATIENCE: Duration = Duration::from_secs(300);
const POLL: Duration = Duration::from_millis(20);

/// Lets one tenant attack and another work.
pub fn run(size: Size) -> Running {
    Box::pin(measure(size))
}

async fn measure(size: Size) -> Result<Vec<Finding>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    crowd::footage(&file, 2 * size.seconds)?;
    let fair = fair_time(size.seconds, &file).await?;

    let stage = Stage::open(&file).await?;
    let player = stage.server.account("club", "player@club.example", "viewer")?;
    let memory = Memory::watch(stage.server.id());
    let attack = Attack::begin(size, &stage, &player.email).await?;
    let mut day = work::day(&stage, size.seconds, &player).await?;
    let exposed = metrics(&stage.server.url()).await?.len();
    let attacked = timeout(PATIENCE, attack.end(day.waiting)).await.context("a part of the attack does not end")??;
    let memory = memory.end().most();

    let (calls, p99) = (day.calls.took.len(), day.calls.p99());
    let within = size.answered_within;
    Ok(vec![
        Finding::new(
            format!("an export of {} s while another tenant attacks, {DEVICES} simulated devices", size.seconds),
            format!("<= {SLOWDOWN}x its time beside one plain export of that tenant"),
            format!("{:.2}x of {fair:.1} s", day.took / fair),
            day.took <= SLOWDOWN * fair,
        ),
        Finding::new(
            "its tenant's calls meanwhile: p99 of the time to the whole answer",
            format!("<= {} ms, at least {LEAST_CALLS} calls, none fails", within.as_millis()),
            format!("{:.0} ms; {}", p99.as_secs_f64() * 1e3, day.calls.tally.said()),
            p99 <= within && calls >= LEAST_CALLS && day.calls.tally.is_all_done(),
        ),
        Finding::new(
            "from its end to the message at its tenant's webhook",
            format!("<= {TOLD_WITHIN} s"),
            format!("{:.2} s", day.told_after),
            day.told_after <= TOLD_WITHIN,
        ),
        Finding::new(
            "its tenant's logins meanwhile, into an account whose password is guessed elsewhere",
            "each one succeeds",
            day.logins.said(),
            day.logins.is_all_done(),
        ),
        Finding::new(
            "`/metrics` with the figures of each tenant",
            format!("< {:.0} MB", METRICS as f64 / 1e6),
            format!("{:.3} MB", exposed as f64 / 1e6),
            0 < exposed && exposed < METRICS,
        ),
        Finding::new(
            "resident memory of the server and its processes: the most of four samples a second",
            format!("< {:.0} MB", MEMORY / 1e6),
            format!("{:.0} MB", memory / 1e6),
            0.0 < memory && memory < MEMORY,
        ),
        attacked,
    ])
}

/// How long the export takes beside one plain export of the other tenant, in seconds.
async fn fair_time(seconds: u32, file: &Path) -> Result<f64> {
    let stage = Stage::open(file).await?;
    // Twice as long, so that it outlasts the other on an even share.
    let beside = stage.rival.start(2 * seconds).await?;
    stage.rival_is_busy().await?;
    let export = stage.club.start(seconds).await?;
    let (took, _) = stage.club.finished(&export).await?;
    ensure!(stage.rival.unfinished(&[beside]).await? == 1, "the plain export beside it ended first");
    Ok(took)
}

/// A server with two tenants.
struct Stage {
    server: Server,
    club: Club,
    /// The one that attacks, once it does.
    rival: Arc<Club>,
}

impl Stage {
    async fn open(file: &Path) -> Result<Self> {
        let (server, _) = crowd::server_with(DEVICES, FRAME_MS, &VARIABLES).await?;
        let club = crowd::club_as(&server, "club", "admin", file).await?;
        let rival = Arc::new(crowd::club_as(&server, "rival", "admin", file).await?);
        Ok(Self { server, club, rival })
    }

    /// The rival's frames that wait for a device.
    async fn waiting(&self) -> Result<f64> {
        let frames = crowd::metric_by(&self.server, "touchline_queue_frames", "tenant").await?;
        Ok(frames.get(&self.rival.tenant).copied().unwrap_or_default())
    }

    /// Waits until the rival keeps the devices busy.
    async fn rival_is_busy(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.waiting().await? < 1.0 {
            ensure!(Instant::now() < deadline, "no frame of the rival waits: {}", self.server.log());
            sleep(POLL).await;
        }
        Ok(())
    }
}

/// An export of copied packets, which needs no device.
fn copied(video: &str) -> Value {
    json!({"kind": "clip", "video_id": video, "start": 0.0, "end": 1.0})
}
