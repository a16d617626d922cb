//! An operator changes settings while requests come and exports run: each change takes effect at once, a bad one
//! changes nothing, an older version comes back, and no request fails.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::crowd::{self, Club};
use super::{Finding, Running};
use crate::client::{Client, Refusal, answered};
use crate::server::Server;

/// How big the scenario is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// How often everything is changed there and back.
    pub rounds: u32,
    /// How soon a change has to hold; none where the machine is busy with other tests.
    pub within: Option<Duration>,
}

impl Size {
    /// For tests.
    pub const TEST: Self = Self { rounds: 1, within: None };
    /// For `make soak`.
    pub const SOAK: Self = Self { rounds: 20, within: Some(Duration::from_secs(1)) };
}

const OPERATOR: (&str, &str) = ("operator@deployment.example", "run the deployment");
/// Footage and exports, in seconds.
const SECONDS: u32 = 20;
/// Exports that run while settings change.
const BUSY: usize = 3;
/// People who read all the time.
const READERS: usize = 4;
/// Default detectors. Simulated devices load none, so that any name will do.
const DETECTORS: [&str; 2] = ["another-detector", "nanodet-g"];
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

/// What was measured of one kind of change: the longest time until it held.
struct Effect(&'static str, Duration);

/// A server under load, and its operator.
struct Deployment {
    server: Server,
    operator: Client,
    club: Club,
    watched: Club,
}

/// Changes everything that can be changed, under load.
pub fn run(size: Size) -> Running {
    Box::pin(measure(size))
}

async fn measure(size: Size) -> Result<Vec<Finding>> {
    let folder = tempfile::tempdir()?;
    let deployment = Deployment::open(folder.path()).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let answers = Arc::new(AtomicU64::new(0));
    let mut load = JoinSet::new();
    for _ in 0..READERS {
        load.spawn(read(deployment.club.client.clone(), Arc::clone(&stop), Arc::clone(&answers)));
    }
    let mut running = vec![deployment.club.start(SECONDS).await?, deployment.club.start(SECONDS).await?];

    let first = deployment.config().await?;
    let mut slowest: Vec<Effect> = Vec::new();
    for round in 0..size.rounds {
        // A limit of one is felt only while something runs.
        if round > 0 && deployment.club.unfinished(&running).await? < BUSY {
            running.push(deployment.club.start(SECONDS).await?);
        }
        for effect in deployment.round().await? {
            match slowest.iter_mut().find(|kept| kept.0 == effect.0) {
                Some(kept) => kept.1 = kept.1.max(effect.1),
                None => slowest.push(effect),
            }
        }
    }
    let refused = deployment.bad_change().await?;
    let back = deployment.roll_back(&first).await?;

    stop.store(true, Ordering::Relaxed);
    let mut failures = Vec::new();
    while let Some(reader) = load.join_next().await {
        failures.extend(reader?);
    }
    let exports = running.len();
    for export in running {
        if let Err(error) = deployment.club.finished(&export).await {
            failures.push(format!("{error:#}"));
        }
    }
    let mut findings: Vec<Finding> = slowest
        .into_iter()
        .map(|Effect(what, took)| {
            let what = format!("{what}, changed {} times under load: until it held", 2 * size.rounds);
            let wanted =
                size.within.map_or("it holds".to_owned(), |within| format!("<= {:.0} ms", within.as_secs_f64() * 1e3));
            let met = size.within.is_none_or(|within| took <= within);
            Finding::new(what, wanted, format!("{:.0} ms at most", took.as_secs_f64() * 1e3), met)
        })
        .collect();
    let answers = answers.load(Ordering::Relaxed);
    failures.truncate(5);
    findings.extend([
        Finding::new("a change with one bad value of two", "422, nothing changed", refused.0, refused.1),
        Finding::new("a rollback to the settings of the start", "they hold again, as a new version", back.0, back.1),
        Finding::new(
            "requests and exports meanwhile",
            "none fails",
            format!("{answers} requests, {exports} exports; failed: {failures:?}"),
            failures.is_empty() && answers > 0,
        ),
    ]);
    Ok(findings)
}

/// Reads until `stop`; what was no success.
async fn read(client: Client, stop: Arc<AtomicBool>, answers: Arc<AtomicU64>) -> Vec<String> {
    let mut failures = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for path in ["/me", "/videos", "/exports", "/usage"] {
            match client.get::<Value>(path).await {
                Ok(_) => drop(answers.fetch_add(1, Ordering::Relaxed)),
                Err(error) => failures.push(format!("{path}: {error:#}")),
            }
        }
    }
    failures
}

impl Deployment {
    async fn open(folder: &Path) -> Result<Self> {
        let file = folder.join("match.mp4");
        crowd::footage(&file, SECONDS)?;
        let server = Server::start_in(
            folder,
            &[
                ("TOUCHLINE__DEVICES__LIST", r#"["sim:0", "sim:1"]"#),
                ("TOUCHLINE__DEVICES__SIM_FRAME_MS", "40.0"),
                ("TOUCHLINE__SEGMENTS__SECONDS", "1.0"),
                ("TOUCHLINE_ADMIN_EMAIL", OPERATOR.0),
                ("TOUCHLINE_ADMIN_PASSWORD", OPERATOR.1),
            ],
        )
        .await?;
        let operator = Client::log_in(&server.url(), OPERATOR.0, OPERATOR.1).await?;
        let club = crowd::club(&server, "club", &file).await?;
        let watched = crowd::club(&server, "watched", &file).await?;
        Ok(Self { server, operator, club, watched })
    }

    async fn config(&self) -> Result<Value> {
        self.operator.get("/admin/config").await
    }

    async fn change(&self, patch: &Value) -> Result<Value> {
        let request = self.operator.request(Method::PATCH, "/admin/config").header("If-Match", "*").json(patch);
        Ok(answered(request.send().await?).await?.json().await?)
    }

    /// Changes everything there and back, and waits until each change holds.
    async fn round(&self) -> Result<Vec<Effect>> {
        let mut effects = Vec::new();
        for (limit, refused) in [(1, true), (1000, false)] {
            self.change(&json!({"limits": {"queued_exports_of_all": limit}})).await?;
            let what = "a limit (`queued_exports_of_all`)";
            effects.push(until(what, async || Ok(self.is_full().await? == refused)).await?);
        }
        for weight in [4.0, 1.0] {
            crowd::weigh(&self.operator, &self.club.tenant, weight).await?;
            effects.push(until("a tenant's weight", async || Ok(self.weight().await? == weight)).await?);
        }
        for (level, detailed) in [("debug", true), ("info", false)] {
            self.change(&json!({"log": {"level": level}})).await?;
            effects.push(until("the log's level", async || Ok(self.logs_details().await? == detailed)).await?);
        }
        for model in DETECTORS {
            self.change(&json!({"detect": {"model": model}})).await?;
            effects.push(until("the default detector", async || Ok(self.detector().await? == model)).await?);
        }
        Ok(effects)
    }

    /// Whether one more export is refused because of the deployment's bound; one that is accepted goes again.
    async fn is_full(&self) -> Result<bool> {
        match self.watched.start(1).await {
            Ok(export) => {
                let request = self.watched.client.request(Method::DELETE, &format!("/exports/{export}"));
                answered(request.send().await?).await?;
                Ok(false)
            }
            Err(error) => {
                let refusal = error.downcast::<Refusal>()?;
                ensure!(refusal.problem["limit"] == "queued_exports_of_all", "{refusal}");
                Ok(true)
            }
        }
    }

    /// The club's weight as the queue uses it.
    async fn weight(&self) -> Result<f64> {
        let queue: Value = self.operator.get("/admin/queue").await?;
        let items = queue["items"].as_array().context("the queue has no items")?;
        let club = items.iter().find(|item| item["tenant_id"] == self.club.tenant.as_str());
        club.and_then(|club| club["weight"].as_f64()).context("the club is not in the queue")
    }

    /// Whether a socket that comes and goes is written down, which only the level `debug` does.
    async fn logs_details(&self) -> Result<bool> {
        let lines = || self.server.log().matches("socket closed").count();
        let before = lines();
        let mut socket = self.watched.client.listen("*").await?;
        socket.close(None).await?;
        let asked = Instant::now();
        // What is not written now is not written later.
        while lines() == before && asked.elapsed() < Duration::from_millis(300) {
            tokio::time::sleep(POLL).await;
        }
        Ok(lines() > before)
    }

    /// The detector that answers.
    async fn detector(&self) -> Result<String> {
        let path = format!("/videos/{}/detections/frame", self.watched.video);
        let found: Value = self.watched.client.post(&path, &json!({"frame": 3})).await?;
        Ok(found["model"].as_str().context("no model")?.to_owned())
    }

    /// Whether a change of which a part is wrong is refused as a whole.
    async fn bad_change(&self) -> Result<(String, bool)> {
        let before = self.config().await?;
        let patch = json!({"limits": {"queued_exports": 7}, "log": {"level": "shout"}});
        let status = match self.change(&patch).await {
            Ok(_) => StatusCode::OK,
            Err(error) => error.downcast::<Refusal>()?.status,
        };
        let same = self.config().await? == before;
        let found = format!("{status}, {}", if same { "all as before" } else { "something has changed" });
        Ok((found, same && status == StatusCode::UNPROCESSABLE_ENTITY))
    }

    /// Goes back to the settings of the start, in two tries: one that saw an older version, and a right one.
    async fn roll_back(&self, first: &Value) -> Result<(String, bool)> {
        let changed = self.change(&json!({"limits": {"queued_exports": 77}})).await?;
        let roll = async |seen: &str| -> Result<(StatusCode, Value)> {
            let request = self.operator.request(Method::POST, "/admin/config/rollback").header("If-Match", seen);
            let answer = request.json(&json!({"version": first["version"]})).send().await?;
            Ok((answer.status(), answer.json().await?))
        };
        let (stale, _) = roll(&format!("\"v{}\"", first["version"])).await?;
        let (status, now) = roll(&format!("\"v{}\"", changed["version"])).await?;
        let mut as_first = now.clone();
        as_first["version"] = first["version"].clone();
        let history: Value = self.operator.get("/admin/config/history?limit=1").await?;
        let newest = &history["items"][0];
        let recorded = newest["version"] == now["version"] && newest["rolled_back_to"] == first["version"];
        let newer = now["version"].as_u64() > changed["version"].as_u64();
        let met = (stale, status) == (StatusCode::PRECONDITION_FAILED, StatusCode::OK);
        let found =
            format!("{stale} of an old version, then {status}, version {}; in the history: {recorded}", now["version"]);
        Ok((found, met && newer && recorded && as_first == *first))
    }
}

/// How long it takes until a change of `what` holds.
async fn until(what: &'static str, mut holds: impl AsyncFnMut() -> Result<bool>) -> Result<Effect> {
    let changed = Instant::now();
    while !holds().await? {
        if changed.elapsed() > PATIENCE {
            bail!("a change of {what} has no effect within {} s", PATIENCE.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(Effect(what, changed.elapsed()))
}
