//! Load on two nodes of one deployment, and what has to hold whatever becomes of their Redis.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;
use touchline_tests::client::{Client, Progress, answered};
use touchline_tests::scenarios::crowd::FPS;

/// What a node may show at most after a change at another: decision 0012.
const STALE_FOR: Duration = Duration::from_secs(1);
/// How long an export may take to end, and to be reported.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// What is done.
const EVERYTHING: [&str; 7] = ["read", "read again", "login", "subscription", "export", "change", "detection"];

/// What all who make load share.
pub struct Load {
    /// One user at both nodes, and where those are.
    at: [Client; 2],
    nodes: [String; 2],
    email: String,
    password: String,
    /// A video, and how many seconds it lasts.
    video: String,
    seconds: u32,
    stop: AtomicBool,
    /// How much was done, by what.
    done: Mutex<BTreeMap<&'static str, usize>>,
    failures: Mutex<Vec<String>>,
    /// When each change was acknowledged: the first adds frame 0 to the video's detections, the second frame 2, and so on.
    changes: Mutex<Vec<Instant>>,
}

/// The even frames of a video's detections: those that [`Load::change`] adds.
fn added(document: &Value) -> usize {
    let frames = document["frames"].as_array().into_iter().flatten();
    frames.filter(|frame| frame["frame"].as_u64().is_some_and(|number| number % 2 == 0)).count()
}

impl Load {
    /// Load of a user who is logged in at both `nodes`.
    pub fn new(
        client: &Client,
        nodes: [String; 2],
        email: String,
        password: String,
        video: String,
        seconds: u32,
    ) -> Self {
        let at = nodes.each_ref().map(|node| client.at(node));
        let (stop, done, failures, changes) = Default::default();
        Self { at, nodes, email, password, video, seconds, stop, done, failures, changes }
    }

    /// Begins what is done over and over, each at one node and then the other, and reading at both.
    pub fn begin(self: &Arc<Self>) -> JoinSet<()> {
        let mut load = JoinSet::new();
        for node in [0, 1, 0, 1] {
            load.spawn(Arc::clone(self).read(node));
        }
        for first in [0, 1] {
            load.spawn(Arc::clone(self).repeat("login", 200, first, Self::log_in));
            load.spawn(Arc::clone(self).repeat("subscription", 50, first, Self::subscribe));
            load.spawn(Arc::clone(self).repeat("export", 100, first, Self::export));
        }
        load.spawn(Arc::clone(self).repeat("change", 150, 0, Self::change));
        load.spawn(Arc::clone(self).repeat("detection", 100, 0, Self::detect));
        load
    }

    /// Waits so long, and until everything was done once more.
    ///
    /// # Errors
    /// As soon as anything has failed.
    pub async fn everything_is_done(&self, at_least: Duration) -> Result<()> {
        let (began, before) = (Instant::now(), lock(&self.done).clone());
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.nothing_has_failed()?;
            let done = lock(&self.done).clone();
            let again = |what: &&str| done.get(what) > before.get(what);
            if began.elapsed() >= at_least && EVERYTHING.iter().all(again) {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "not everything was done: {before:?} before, {done:?} now");
        }
    }

    /// Ends it. What is at work goes to its end.
    ///
    /// # Errors
    /// When anything has failed.
    pub async fn end(&self, load: JoinSet<()>) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        load.join_all().await;
        self.nothing_has_failed()
    }

    fn nothing_has_failed(&self) -> Result<()> {
        let failures = lock(&self.failures);
        let first: Vec<_> = failures.iter().take(10).collect();
        ensure!(failures.is_empty(), "{} of {:?} failed, such as {first:#?}", failures.len(), lock(&self.done));
        Ok(())
    }

    /// Does something until it is to stop, with so many milliseconds between. What fails is kept.
    async fn repeat<F>(
        self: Arc<Self>,
        what: &'static str,
        pause: u64,
        first: usize,
        work: impl Fn(Arc<Self>, usize) -> F,
    ) where
        F: Future<Output = Result<()>>,
    {
        let mut turn = first;
        while !self.stop.load(Ordering::Relaxed) {
            match work(Arc::clone(&self), turn).await {
                Ok(()) => self.did(what),
                Err(error) => self.failed(format!("{what}, turn {turn}: {error:#}")),
            }
            turn += 1;
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    fn did(&self, what: &'static str) {
        *lock(&self.done).entry(what).or_default() += 1;
    }

    fn failed(&self, failure: String) {
        lock(&self.failures).push(failure);
    }

    /// A read shows every change that was acknowledged more than [`STALE_FOR`] ago, and none disappears again.
    async fn read(self: Arc<Self>, node: usize) {
        let (path, mut seen, mut tag) = (format!("/videos/{}/detections", self.video), 0, String::new());
        while !self.stop.load(Ordering::Relaxed) {
            let asked = Instant::now();
            let due = lock(&self.changes).iter().filter(|change| asked.duration_since(**change) > STALE_FOR).count();
            match read(&self.at[node], &path, &tag).await {
                Ok(None) if seen >= due => self.did("read again"),
                Ok(Some((document, etag))) if added(&document) >= due.max(seen) => {
                    (seen, tag) = (added(&document), etag);
                    self.did("read");
                }
                Ok(found) => {
                    let shown = found.map_or(seen, |(document, _)| added(&document));
                    self.failed(format!("node {node} shows {shown} changes of {due}, and has shown {seen}"));
                }
                Err(error) => self.failed(format!("reading at node {node}: {error:#}")),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Detects in one more frame, which adds it to the video's detections.
    async fn change(self: Arc<Self>, turn: usize) -> Result<()> {
        let number = lock(&self.changes).len() * 2;
        if number >= (self.seconds * FPS) as usize {
            return Ok(());
        }
        let path = format!("/videos/{}/detections/frame", self.video);
        self.at[turn % 2].post::<Value>(&path, &json!({"frame": number})).await?;
        lock(&self.changes).push(Instant::now());
        Ok(())
    }

    async fn log_in(self: Arc<Self>, turn: usize) -> Result<()> {
        let client = Client::log_in(&self.nodes[turn % 2], &self.email, &self.password).await?;
        client.get::<Value>("/me").await.map(drop)
    }

    /// A ticket, the socket it opens, and an answer on it.
    async fn subscribe(self: Arc<Self>, turn: usize) -> Result<()> {
        let mut socket = self.at[turn % 2].listen("*").await?;
        socket.send(Message::text(r#"{"type": "subscribe", "export_id": "none"}"#)).await?;
        let answer = async {
            while let Some(message) = socket.next().await {
                let Message::Text(text) = message? else { continue };
                // Before it, all that the tenant has running.
                if serde_json::from_str::<Value>(&text)?["type"] == "error" {
                    return anyhow::Ok(());
                }
            }
            bail!("the socket was closed")
        };
        tokio::time::timeout(PATIENCE, answer).await.context("a socket is silent")??;
        Ok(socket.close(None).await?)
    }

    /// Makes an export at one node, hears its end at the other, reads what it found there, and deletes it.
    async fn export(self: Arc<Self>, turn: usize) -> Result<()> {
        let (here, there) = (&self.at[turn % 2], &self.at[(turn + 1) % 2]);
        let export = here.start(&framing(&self.video, 1)).await?.id;
        let last = ends(there, &export).await?;
        ensure!(last.state == "complete", "the export ends {}: {}", last.state, last.message);
        for client in [there, here] {
            ensure!(client.export(&export).await?.state == "complete", "an export that has ended is not complete");
        }
        let path = format!("/exports/{export}/detections");
        let (found, tag) = read(there, &path, "").await?.context("no detections")?;
        ensure!(found["frames"].as_array().is_some_and(|frames| !frames.is_empty()), "no frame was searched: {found}");
        let (_, same) = read(here, &path, "").await?.context("no detections")?;
        ensure!(tag == same, "two nodes tag one answer {tag} and {same}");

        answered(here.request(Method::DELETE, &format!("/exports/{export}")).send().await?).await?;
        let (deleted, mut gone) = (Instant::now(), false);
        while deleted.elapsed() < STALE_FOR + Duration::from_millis(500) {
            let late = deleted.elapsed() > STALE_FOR;
            let status = there.request(Method::GET, &path).send().await?.status();
            ensure!(
                status == StatusCode::NOT_FOUND || (status == StatusCode::OK && !gone && !late),
                "detections that are deleted are answered {status}; gone before: {gone}, too late: {late}"
            );
            gone |= status == StatusCode::NOT_FOUND;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Detects in one more odd frame by an export, and finds it among the video's at the other node.
    async fn detect(self: Arc<Self>, turn: usize) -> Result<()> {
        let (here, there) = (&self.at[turn % 2], &self.at[(turn + 1) % 2]);
        let frame = (2 * turn + 1) % (self.seconds * FPS) as usize;
        let time = (frame as f64 + 0.5) / f64::from(FPS);
        let export = here.start(&json!({"kind": "detection", "video_id": self.video, "times": [time]})).await?.id;
        ensure!(ends(there, &export).await?.state == "complete", "a detection does not complete");
        tokio::time::sleep(STALE_FOR).await;
        for client in [there, here] {
            let (found, _) =
                read(client, &format!("/videos/{}/detections", self.video), "").await?.context("no detections")?;
            let frames = found["frames"].as_array().context("no frames")?;
            ensure!(frames.iter().any(|one| one["frame"] == frame), "frame {frame} is not among the video's");
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Detections and their tag; none when they are still those of `tag`.
async fn read(client: &Client, path: &str, tag: &str) -> Result<Option<(Value, String)>> {
    let mut request = client.request(Method::GET, path);
    if !tag.is_empty() {
        request = request.header("If-None-Match", tag);
    }
    let answer = request.send().await?;
    if answer.status() == StatusCode::NOT_MODIFIED {
        return Ok(None);
    }
    let answer = answered(answer).await?;
    let tag = answer.headers().get("etag").context("no ETag")?.to_str()?.to_owned();
    Ok(Some((answer.json().await?, tag)))
}

/// So many seconds of frames that a device has to make.
pub fn framing(video: &str, seconds: u32) -> Value {
    let crop = |time: u32, x: f64| json!({"time": time, "x": x, "y": 20.0, "width": 180.0, "height": 320.0});
    json!({
        "kind": "framing", "output": {"width": 270, "height": 480, "fps": FPS},
        "upscale": {"quality": "draft"}, "detect": {"rule": {"every": 0.5}},
        "clips": [{"video_id": video, "start": 0, "end": seconds, "crop": [crop(0, 20.0), crop(seconds, 300.0)]}],
    })
}

/// Waits for an export's last message.
async fn ends(client: &Client, export: &str) -> Result<Progress> {
    let watched = tokio::time::timeout(PATIENCE, client.watch(export, |_| {})).await;
    watched.with_context(|| format!("the end of export {export} is not reported"))?
}
