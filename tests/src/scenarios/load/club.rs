//! One tenant of the crowd: what its coach does all the time.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::client::{Client, Refusal, answered};

/// How long a coach pauses between visits.
const PAUSE: Duration = Duration::from_secs(2);
/// Every so many visits the newest export is cancelled, and the one that was cancelled before is deleted.
const CANCEL_EVERY: u32 = 5;

/// A tenant with one user and one video.
pub struct Club {
    pub client: Client,
    video: String,
    /// Exports that were accepted and not deleted.
    started: Vec<String>,
    cancelled: Option<String>,
    /// Exports whose end every listener must have received.
    pub ended: HashSet<String>,
    pub tally: Tally,
}

/// What was asked, and how it was answered.
#[derive(Default)]
pub struct Tally {
    pub requests: u64,
    pub started: u64,
    pub deleted: u64,
    /// 429 because the queue was full.
    pub refused: u64,
    /// Everything else that was no success.
    pub errors: Vec<String>,
}

impl Tally {
    /// Adds another club's.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.started += other.started;
        self.deleted += other.deleted;
        self.refused += other.refused;
        self.errors.extend(other.errors.iter().cloned());
    }
}

/// Lets every club do the same at the same time.
pub async fn all<F>(clubs: Vec<Club>, act: impl Fn(Club) -> F) -> Result<Vec<Club>>
where
    F: Future<Output = Club> + Send + 'static,
{
    let mut acting = JoinSet::new();
    let count = clubs.len();
    for (place, club) in clubs.into_iter().enumerate() {
        let act = act(club);
        acting.spawn(async move { (place, act.await) });
    }
    let mut done = Vec::with_capacity(count);
    while let Some(club) = acting.join_next().await {
        done.push(club?);
    }
    done.sort_by_key(|(place, _)| *place);
    Ok(done.into_iter().map(|(_, club)| club).collect())
}

impl Club {
    pub fn new(client: Client, video: String) -> Self {
        Self { client, video, started: Vec::new(), cancelled: None, ended: HashSet::new(), tally: Tally::default() }
    }

    /// Starts exports until the queue is full.
    pub async fn fill(&mut self) {
        let spec = json!({
            "kind": "framing", "output": {"width": 90, "height": 160, "fps": 10}, "detect": {"rule": "none"},
            "clips": [{"video_id": self.video, "start": 0.0, "end": 1.0}],
        });
        loop {
            self.tally.requests += 1;
            match self.client.start(&spec).await {
                Ok(export) => {
                    self.tally.started += 1;
                    self.started.push(export.id);
                }
                Err(error) if is_full(&error) => {
                    self.tally.refused += 1;
                    return;
                }
                Err(error) => return self.tally.errors.push(format!("starting an export: {error:#}")),
            }
        }
    }

    /// Comes back again and again.
    pub async fn stay(&mut self, until: Instant) {
        let mut visit = 0;
        while Instant::now() + PAUSE < until {
            tokio::time::sleep(PAUSE).await;
            self.fill().await;
            self.ask(Method::GET, "/exports?limit=20").await;
            if let Some(newest) = self.started.last().cloned() {
                self.ask(Method::GET, &format!("/exports/{newest}")).await;
                visit += 1;
                if visit % CANCEL_EVERY == 0 {
                    self.change_mind(newest).await;
                }
            }
        }
    }

    /// Cancels the newest export, and deletes the one that was cancelled before.
    async fn change_mind(&mut self, newest: String) {
        self.ask(Method::POST, &format!("/exports/{newest}/cancel")).await;
        self.ended.insert(newest.clone());
        if let Some(old) = self.cancelled.replace(newest) {
            self.ask(Method::DELETE, &format!("/exports/{old}")).await;
            self.started.retain(|id| *id != old);
            self.tally.deleted += 1;
        }
    }

    async fn ask(&mut self, method: Method, path: &str) {
        self.tally.requests += 1;
        let asked = async { answered(self.client.request(method.clone(), path).send().await?).await };
        if let Err(error) = asked.await {
            self.tally.errors.push(format!("{method} {path}: {error:#}"));
        }
    }

    /// Notes which exports are complete by now.
    pub async fn note_ended(&mut self) -> Result<()> {
        let complete = self.listed("complete").await?;
        self.ended.extend(complete);
        Ok(())
    }

    /// What is wrong with the tenant's exports: failed ones, and accepted ones that are not there.
    pub async fn missing(&self) -> Result<Vec<String>> {
        let mut listed = HashSet::new();
        for state in ["queued", "preparing", "rendering", "assembling", "publishing", "complete", "cancelled"] {
            // An export may move on between two lists; the next list has it then.
            listed.extend(self.listed(state).await?);
        }
        let missing = self.started.iter().filter(|id| !listed.contains(*id));
        let mut wrong: Vec<String> = missing.map(|id| format!("{id} is gone")).collect();
        wrong.extend(self.listed("failed").await?.into_iter().map(|id| format!("{id} failed")));
        Ok(wrong)
    }

    async fn listed(&self, state: &str) -> Result<Vec<String>> {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let page: Value = self.client.get(&format!("/exports?state={state}&limit=200{cursor}")).await?;
            let items = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            ids.extend(items.iter().filter_map(|item| item["id"].as_str().map(str::to_owned)));
            let Some(next) = page["next_cursor"].as_str() else { return Ok(ids) };
            ensure!(!items.is_empty(), "an empty page has a next one");
            cursor = format!("&cursor={next}");
        }
    }
}

/// Whether an answer says that the tenant's queue is full.
fn is_full(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refusal>().is_some_and(|refusal| {
        refusal.status == StatusCode::TOO_MANY_REQUESTS && refusal.problem.to_string().contains("queued_exports")
    })
}
