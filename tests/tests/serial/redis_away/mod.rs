//! Two nodes whose Redis is killed and comes back empty: under load no request fails, every export ends and says so,
//! and no reader is shown detections that were changed more than a second ago. Progress and rates reach across nodes while
//! Redis is there, and hold at each node while it is not.

mod load;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::{join_all, try_join};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;
use touchline_tests::client::{Client, answered};
use touchline_tests::nodes::Nodes;
use touchline_tests::scenarios::crowd;

use self::load::{Load, PATIENCE, framing};

/// How long Redis is there, and away, under load.
const PHASE: Duration = Duration::from_secs(4);
/// How often it goes.
const TIMES: usize = 2;
const OPERATOR: (&str, &str) = ("operator@example.com", "a-password-for-tests");
const VARIABLES: [(&str, &str); 5] = [
    ("TOUCHLINE__DEVICES__LIST", r#"["sim:0", "sim:1"]"#),
    ("TOUCHLINE__DEVICES__SIM_FRAME_MS", "25.0"),
    ("TOUCHLINE__SEGMENTS__SECONDS", "1.0"),
    ("TOUCHLINE_ADMIN_EMAIL", OPERATOR.0),
    ("TOUCHLINE_ADMIN_PASSWORD", OPERATOR.1),
];

/// An editor of a club at the first node, who has uploaded so many seconds.
struct Editor {
    client: Client,
    email: String,
    password: String,
    video: String,
}

async fn editor(nodes: &Nodes, seconds: u32) -> Result<Editor> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    crowd::footage(&file, seconds)?;
    let account = nodes.here.account("club", "coach@club.example", "editor")?;
    let client = Client::log_in(&nodes.here.url(), &account.email, &account.password).await?;
    let video = client.upload(&file, 1 << 20, |_, _| {}).await?.id;
    Ok(Editor { client, email: account.email, password: account.password, video })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_under_load_while_redis_goes_and_comes_back_empty() -> Result<()> {
    let _turn = crate::turn().await;
    const SECONDS: u32 = 60;
    let mut nodes = Nodes::start(&VARIABLES).await?;
    let Editor { client, email, password, video } = editor(&nodes, SECONDS).await?;
    let urls = [nodes.here.url(), nodes.there.url()];
    let load = Arc::new(Load::new(&client, urls, email, password, video, SECONDS));
    let running = load.begin();
    load.everything_is_done(PHASE).await?;
    for _ in 0..TIMES {
        nodes.redis.kill();
        nodes.redis_is(false).await?;
        load.everything_is_done(PHASE).await?;
        nodes.redis.revive();
        nodes.redis_is(true).await?;
        load.everything_is_done(PHASE).await?;
    }
    load.end(running).await
}

/// Follows an export to its end; whether a message had a frame rate, which is in no row.
async fn watch(client: &Client, export: &str) -> Result<bool> {
    let mut live = false;
    let last = timeout(PATIENCE, client.watch(export, |message| live |= message.fps > 0.0)).await;
    let last = last.with_context(|| format!("the end of export {export} is not reported"))??;
    ensure!(last.state == "complete", "the export ends {}: {}", last.state, last.message);
    Ok(live)
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_received_at_every_node() -> Result<()> {
    let _turn = crate::turn().await;
    let mut nodes = Nodes::start(&VARIABLES).await?;
    let Editor { client: here, video, .. } = editor(&nodes, 16).await?;
    let there = here.at(&nodes.there.url());
    // Whichever node works on it: the other hears as much. A machine that pauses may hold messages back; a node that
    // sends nothing does each time.
    let mut heard = Vec::new();
    while heard.len() < 3 && !heard.contains(&(true, true)) {
        let export = here.start(&framing(&video, 16)).await?.id;
        heard.push(try_join(watch(&here, &export), watch(&there, &export)).await?);
    }
    ensure!(heard.contains(&(true, true)), "only a node that works on an export reports it: {heard:?}");

    nodes.redis.kill();
    nodes.redis_is(false).await?;
    for (maker, listener) in [(&here, &there), (&there, &here)] {
        let export = maker.start(&framing(&video, 3)).await?.id;
        try_join(watch(listener, &export), watch(maker, &export)).await?;
        assert_eq!(listener.export(&export).await?.state, "complete");
    }
    // One that begins without Redis and ends with it.
    let export = here.start(&framing(&video, 8)).await?.id;
    let back = async {
        nodes.redis.revive();
        nodes.redis_is(true).await
    };
    let watched = try_join(watch(&here, &export), watch(&there, &export));
    try_join(watched, back).await?;
    Ok(())
}

/// Checks a rate at both nodes together, once more where Redis failed one of them meanwhile: it counted alone then.
async fn check_together(here: &Client, there: &Client, per_second: f64) -> Result<()> {
    const FAILURES: &str = "touchline_redis_failures_total";
    let deadline = Instant::now() + PATIENCE;
    loop {
        let before = try_join(here.metric(FAILURES), there.metric(FAILURES)).await?;
        let burst = burst(&[here, there]).await?;
        if try_join(here.metric(FAILURES), there.metric(FAILURES)).await? == before {
            return burst.check(per_second);
        }
        ensure!(Instant::now() < deadline, "Redis fails all the time");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// What became of many requests at once.
struct Burst {
    answered: f64,
    refused: Vec<reqwest::Response>,
    lasted: Duration,
}

async fn burst(clients: &[&Client]) -> Result<Burst> {
    const REQUESTS: usize = 120;
    let began = Instant::now();
    let requests = (0..REQUESTS).map(|turn| clients[turn % clients.len()].request(Method::GET, "/me").send());
    let answers = join_all(requests).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let lasted = began.elapsed();
    let (answered, others): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.status() == StatusCode::OK);
    Ok(Burst { answered: answered.len() as f64, refused: others, lasted })
}

impl Burst {
    /// Not more were answered than in one second at once, and what came free meanwhile.
    fn check(self, per_second: f64) -> Result<()> {
        let Self { answered, refused, lasted } = self;
        let most = per_second * (1.0 + lasted.as_secs_f64()) + 1.0;
        ensure!(answered <= most, "{answered} requests were answered within {lasted:?}, more than {most}");
        ensure!(answered >= 1.0 && !refused.is_empty(), "{answered} were answered, {} refused", refused.len());
        for answer in refused {
            ensure!(answer.status() == StatusCode::TOO_MANY_REQUESTS, "a request is answered {}", answer.status());
            let header = |name: &str| {
                let value = answer.headers().get(name).with_context(|| format!("no {name}"))?;
                anyhow::Ok(value.to_str()?.to_owned())
            };
            let wait: u64 = header("retry-after")?.parse()?;
            ensure!((1..=60).contains(&wait), "wait {wait} s");
            ensure!(header("ratelimit-policy")? == format!("\"requests_per_second\";q={per_second};w=1"));
            ensure!(header("ratelimit")? == format!("\"requests_per_second\";r=0;t={wait}"));
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_holds_across_nodes_and_at_each_without_redis() -> Result<()> {
    let _turn = crate::turn().await;
    const RATE: f64 = 10.0;
    let mut nodes = Nodes::start(&VARIABLES).await?;
    let account = nodes.here.account("club", "coach@club.example", "viewer")?;
    let here = Client::log_in(&nodes.here.url(), &account.email, &account.password).await?;
    let there = here.at(&nodes.there.url());
    let operator = Client::log_in(&nodes.there.url(), OPERATOR.0, OPERATOR.1).await?;
    let rate = async |per_second: f64| {
        let change = operator.request(Method::PATCH, "/admin/config").header("If-Match", "*");
        let change = change.json(&json!({"limits": {"requests_per_second": per_second as u32}}));
        answered(change.send().await?).await?;
        // It holds at every node within a second, or two on a machine that is busy.
        let deadline = Instant::now() + PATIENCE;
        for client in [&here, &there] {
            let policy = async || {
                let answer = client.request(Method::GET, "/me").send().await?;
                anyhow::Ok(answer.headers().get("ratelimit-policy").map(|value| value.as_bytes().to_vec()))
            };
            let wanted = (per_second > 0.0).then(|| format!("\"requests_per_second\";q={per_second};w=1").into_bytes());
            while policy().await? != wanted {
                ensure!(Instant::now() < deadline, "{per_second} requests a second do not hold");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        anyhow::Ok(())
    };
    rate(RATE).await?;
    check_together(&here, &there, RATE).await?;
    // After the time that Retry-After names a request is answered again, at either node.
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(there.get::<Value>("/me").await?);

    nodes.redis.kill();
    nodes.redis_is(false).await?;
    for client in [&here, &there] {
        burst(&[client]).await?.check(RATE)?;
    }
    nodes.redis.revive();
    nodes.redis_is(true).await?;
    check_together(&here, &there, RATE).await?;
    rate(0.0).await?;
    let free = burst(&[&here, &there]).await?;
    ensure!(free.refused.is_empty(), "{} were refused without a limit", free.refused.len());
    Ok(())
}
