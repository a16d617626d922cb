//! A thousand listeners of one export: each gets the present state at once, at most ten messages a second, and the end.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::crowd;
use super::{Finding, Running};
use crate::client::{Progress, Socket, answered};

/// How big the scenario is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub listeners: usize,
    /// Length of the export's footage, in seconds.
    pub seconds: u32,
}

impl Size {
    /// For tests.
    pub const TEST: Self = Self { listeners: 1000, seconds: 40 };
    /// For `make soak`.
    pub const SOAK: Self = Self { listeners: 1000, seconds: 400 };
}

/// What the simulated device takes for a frame: far more frames a second than messages are allowed.
const FRAME_MS: f64 = 20.0;
const DEVICE: &str = "sim:0";
/// Sockets that are opened side by side.
const AT_ONCE: usize = 8;
/// How long a message may take when the machine is busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// The time over which messages are counted, wherever it begins, and how many there may be in it: both ends count, and
/// so one more than ten a second.
const WINDOW: Duration = Duration::from_secs(2);
const MOST: usize = 21;

/// What one of them heard.
struct Heard {
    /// When each message that was not the last came.
    times: Vec<Instant>,
    /// When the last one came, and its state.
    last: Option<(Instant, String)>,
    went_back: bool,
}

/// All listeners follow an export from its queue to its end.
pub fn run(size: Size) -> Running {
    Box::pin(measure(size))
}

async fn measure(size: Size) -> Result<Vec<Finding>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    crowd::footage(&file, size.seconds)?;
    let most = (2 * size.listeners).to_string();
    let limits = [("TOUCHLINE__LIMITS__SOCKETS_PER_USER", &*most), ("TOUCHLINE__LIMITS__SOCKETS_PER_TENANT", &*most)];
    let (server, operator) = crowd::server_with(1, FRAME_MS, &limits).await?;
    let club = crowd::club(&server, "club", &file).await?;
    let device = async |verb: &str| {
        let request = operator.request(Method::POST, &format!("/admin/devices/{DEVICE}/{verb}"));
        answered(request.send().await?).await
    };

    // While no device works nothing changes, so that what is heard is what subscribing brings.
    device("disable").await?;
    let export = club.start(size.seconds).await?;
    let opened = stream::iter(0..size.listeners).map(|_| async {
        let mut socket = club.client.listen(&export).await?;
        let asked = Instant::now();
        let first = timeout(PATIENCE, next_message(&mut socket)).await.context("subscribing brought nothing")??;
        let first = first.context("a socket was closed")?;
        anyhow::Ok((socket, first, asked.elapsed()))
    });
    let opened: Vec<(Socket, Progress, Duration)> = opened.buffer_unordered(AT_ONCE).try_collect().await?;
    let at_once = opened.iter().filter(|(_, first, _)| first.export_id == export && first.progress == 0.0).count();
    let slowest = opened.iter().map(|(.., took)| *took).max().unwrap_or_default();

    let mut watching = JoinSet::new();
    for (socket, first, _) in opened {
        watching.spawn(watch(socket, first));
    }
    let began = Instant::now();
    device("enable").await?;
    let mut heard = Vec::new();
    while let Some(one) = watching.join_next().await {
        heard.push(one??);
    }
    let row: Value = club.client.get(&format!("/exports/{export}")).await?;
    ensure!(row["state"] == "complete", "the export is {}: {}", row["state"], row["problem"]);
    let late = club.client.watch(&export, |_| {}).await?;

    let ends: Vec<Instant> = heard.iter().filter_map(|one| Some(one.last.as_ref()?.0)).collect();
    let complete = heard.iter().filter(|one| one.last.as_ref().is_some_and(|(_, state)| state == "complete")).count();
    let spread = ends.iter().max().zip(ends.iter().min()).map_or(Duration::ZERO, |(last, first)| *last - *first);
    let busiest = heard.iter().map(|one| most_within(&one.times)).max().unwrap_or_default();
    let messages: usize = heard.iter().map(|one| one.times.len()).sum();
    let lasted = ends.iter().max().map_or(0.0, |end| (*end - began).as_secs_f64());
    let each = messages as f64 / size.listeners as f64;
    let back = heard.iter().filter(|one| one.went_back).count();
    let who = format!("{} listeners of one export", size.listeners);
    Ok(vec![
        Finding::new(
            format!("{who}: the latest state on subscribing, while nothing changes"),
            "each one hears it",
            format!("{at_once}, the slowest after {:.0} ms", slowest.as_secs_f64() * 1e3),
            at_once == size.listeners,
        ),
        Finding::new(
            format!("{who}, {lasted:.0} s of work: most messages of one of them in any two seconds"),
            format!("<= {MOST}, and some"),
            format!("{busiest}; {each:.0} each, {:.1} a second", each / lasted),
            busiest <= MOST && each >= 10.0,
        ),
        Finding::new(
            format!("{who}: the end"),
            "each one hears `complete`, and progress never goes back",
            format!("{complete} within {:.0} ms; it went back for {back}", spread.as_secs_f64() * 1e3),
            complete == size.listeners && back == 0,
        ),
        Finding::new("who subscribes after the end", "hears `complete`", late.state.clone(), late.state == "complete"),
    ])
}

/// The next progress message; none when the socket ends.
async fn next_message(socket: &mut Socket) -> Result<Option<Progress>> {
    while let Some(message) = socket.next().await {
        if let Message::Text(text) = message? {
            return Ok(Some(serde_json::from_str(&text).with_context(|| format!("the server says {text}"))?));
        }
    }
    Ok(None)
}

/// Listens to the end, or until the socket ends.
async fn watch(mut socket: Socket, first: Progress) -> Result<Heard> {
    let mut heard = Heard { times: Vec::new(), last: None, went_back: false };
    let mut progress = first.progress;
    while let Some(message) = next_message(&mut socket).await? {
        if message.is_last() {
            heard.last = Some((Instant::now(), message.state));
            break;
        }
        heard.times.push(Instant::now());
        heard.went_back |= message.progress < progress;
        progress = message.progress;
    }
    Ok(heard)
}

/// The most of rising `times` that lie within any window.
fn most_within(times: &[Instant]) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (place, time) in times.iter().enumerate() {
        while *time - times[first] > WINDOW {
            first += 1;
        }
        most = most.max(place + 1 - first);
    }
    most
}
