//! The tenant that attacks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, ensure};
use futures_util::StreamExt;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::tally::Tally;
use super::{POLL, Size, Stage, copied};
use crate::client::Refusal;
use crate::receiver::{Answer, Receiver};
use crate::scenarios::Finding;
use crate::scenarios::crowd::{self, Club};

/// Where guesses come from: not from where the other tenant's users log in, who would share its limit.
const STRANGER: &str = "198.51.100.7";
/// Single frames in detection all the time: as many as a tenant may have.
const LOOKUPS: u32 = 8;
/// How many act side by side in each of the ways that are a number of calls.
const PEOPLE: usize = 10;
/// Clips of the largest spec, and keyframes of each: as many as there may be.
const CLIPS: usize = 5;
const KEYFRAMES: u32 = 2000;
/// The parts that must come to a limit.
const SOCKETS: &str = "sockets";
const GUESSES: &str = "wrong passwords";

/// The attack under way.
pub struct Attack {
    stop: Arc<AtomicBool>,
    parts: JoinSet<(&'static str, Tally)>,
    first: Tally,
    tarpit: Receiver,
}

impl Attack {
    /// Keeps the devices busy by one of the largest exports, then begins with all the rest at the same moment.
    pub async fn begin(size: Size, stage: &Stage, victim: &str) -> Result<Self> {
        let spec = Arc::new(largest(&stage.rival.video, size.seconds));
        let first = start(Arc::clone(&stage.rival), Arc::clone(&spec)).await;
        ensure!(first.done == 1, "the largest spec is not accepted: {}", first.said());
        stage.rival_is_busy().await?;

        let tarpit = Receiver::start().await?;
        tarpit.answer(&[Answer::Silence]);
        let (rival, stop) = (|| Arc::clone(&stage.rival), Arc::new(AtomicBool::new(false)));
        let mut parts = JoinSet::new();
        for person in 0..LOOKUPS {
            let looking = look(rival(), person, size.seconds * crowd::FPS, Arc::clone(&stop));
            parts.spawn(named("single frames", looking));
        }
        for _ in 0..PEOPLE {
            let emails = [victim.to_owned(), "coach@rival.example".to_owned()];
            parts.spawn(named(GUESSES, guess(stage.server.url(), emails, size.logins / PEOPLE)));
            parts.spawn(named("uploads", leave_uploads(rival(), size.uploads / PEOPLE)));
            parts.spawn(named(SOCKETS, open_sockets(rival(), size.sockets / PEOPLE, Arc::clone(&stop))));
        }
        for _ in 1..size.exports {
            parts.spawn(named("exports", start(rival(), Arc::clone(&spec))));
        }
        let receivers = (0..size.tarpits).map(|number| tarpit.url(&format!("/{number}"))).collect();
        parts.spawn(named("webhooks", pester(rival(), receivers)));
        Ok(Self { stop, parts, first, tarpit })
    }

    /// Ends what goes on for ever, waits for the rest, and judges whether it was an attack. `waiting`: the attacker's
    /// frames that waited for a device at the other tenant's end.
    pub async fn end(mut self, waiting: f64) -> Result<Finding> {
        self.stop.store(true, Ordering::Relaxed);
        let mut told = BTreeMap::from([("exports", self.first)]);
        while let Some(part) = self.parts.join_next().await {
            let (name, tally) = part?;
            told.entry(name).or_default().add(tally);
        }
        let tarpit = self.tarpit.all().len();
        let is_tried = told.values().all(|tally| tally.done > 0 && tally.failed.is_empty());
        let is_refused = [SOCKETS, GUESSES].iter().all(|name| told.get(name).is_some_and(|tally| tally.refused > 0));
        let parts: Vec<_> = told.iter().map(|(name, tally)| format!("{name}: {}", tally.said())).collect();
        Ok(Finding::new(
            "the attack",
            "each part is tried, and sockets and wrong passwords come to their limits; its frames wait to the end",
            format!("{}; {tarpit} messages in the tarpit, {waiting:.0} frames wait", parts.join("; ")),
            is_tried && is_refused && tarpit > 0 && waiting >= 1.0,
        ))
    }
}

async fn named(name: &'static str, part: impl Future<Output = Tally>) -> (&'static str, Tally) {
    (name, part.await)
}

/// One single frame after the other.
async fn look(rival: Arc<Club>, first: u32, frames: u32, stop: Arc<AtomicBool>) -> Tally {
    let (mut tally, mut frame) = (Tally::default(), first);
    // One that fails, and not at a limit, says enough.
    while !stop.load(Ordering::Relaxed) && tally.failed.is_empty() {
        tally.note(rival.detect(frame % frames).await);
        frame += 1;
    }
    tally
}

/// Wrong passwords; that one is refused as wrong is the answer that counts as done.
async fn guess(url: String, emails: [String; 2], count: usize) -> Tally {
    let (mut tally, http) = (Tally::default(), reqwest::Client::new());
    for email in emails.iter().cycle().take(count) {
        let body = json!({"email": email, "password": "not the password"});
        let request = http.post(format!("{url}/api/v1/auth/token")).header("X-Forwarded-For", STRANGER).json(&body);
        let answer = async {
            let status = request.send().await?.status();
            let is_wrong = status == StatusCode::UNAUTHORIZED;
            if is_wrong { anyhow::Ok(()) } else { Err(Refusal { status, problem: Value::Null }.into()) }
        };
        tally.note(answer.await);
    }
    tally
}

/// Uploads that are begun, get a few bytes and are left.
async fn leave_uploads(rival: Arc<Club>, count: usize) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..count {
        let left = async {
            let location = rival.client.create_upload(1 << 20, "match.mp4").await?;
            rival.client.send_piece(&location, 0, b"a few bytes".to_vec()).await
        };
        tally.note(left.await);
    }
    tally
}

/// Sockets that subscribe to everything; those that are let in stay open to the end.
async fn open_sockets(rival: Arc<Club>, count: usize, stop: Arc<AtomicBool>) -> Tally {
    let (mut tally, mut reading) = (Tally::default(), JoinSet::new());
    for _ in 0..count {
        if let Some(mut socket) = tally.note(rival.client.listen("*").await) {
            reading.spawn(async move { while let Some(Ok(_)) = socket.next().await {} });
        }
    }
    while !stop.load(Ordering::Relaxed) {
        sleep(POLL).await;
    }
    tally
}

/// An export.
async fn start(rival: Arc<Club>, spec: Arc<Value>) -> Tally {
    let mut tally = Tally::default();
    tally.note(rival.client.start(&spec).await);
    tally
}

/// Webhooks, each followed by an export whose end is a message for all that there are by then.
async fn pester(rival: Arc<Club>, receivers: Vec<String>) -> Tally {
    let (mut tally, clip) = (Tally::default(), copied(&rival.video));
    for url in receivers {
        let hooked = async {
            let hook = json!({"url": url, "events": ["export.complete"]});
            let _: Value = rival.client.post("/webhooks", &hook).await?;
            rival.client.start(&clip).await
        };
        tally.note(hooked.await);
    }
    tally
}

/// An export of the most keyframes that are allowed, 0.97 of the 1.05 MB of JSON that are; each frame is inferred.
fn largest(video: &str, seconds: u32) -> Value {
    let keyframe = |number: u32| {
        let share = f64::from(number) / f64::from(KEYFRAMES - 1);
        let (time, x, y) = (share * f64::from(seconds), 20.0 + 400.0 * share, 40.0 * share);
        json!({"time": time, "x": x, "y": y, "width": 180, "height": 320})
    };
    let crop: Vec<Value> = (0..KEYFRAMES).map(keyframe).collect();
    let clip = json!({"video_id": video, "start": 0.0, "end": f64::from(seconds), "crop": crop});
    json!({
        "kind": "framing", "clips": vec![clip; CLIPS], "output": {"width": 270, "height": 480, "fps": crowd::FPS},
        "upscale": {"quality": "draft"}, "detect": {"rule": "none"},
    })
}
