//! The tenant that is attacked: what it does meanwhile, and how it fares.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use chrono::Utc;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::tally::Tally;
use super::{PATIENCE, POLL, Stage, copied};
use crate::client::Client;
use crate::receiver::Receiver;
use crate::scenarios::crowd::{self, Club};
use crate::scenarios::p99;
use crate::server::Account;

/// What came of the work of the tenant that is attacked.
pub struct Day {
    /// Seconds of its export.
    pub took: f64,
    /// Seconds from the export's end to the message at the webhook.
    pub told_after: f64,
    /// Frames of the other tenant that waited for a device at the export's end.
    pub waiting: f64,
    pub calls: Calls,
    pub logins: Tally,
}

/// Timed calls.
#[derive(Default)]
pub struct Calls {
    pub took: Vec<Duration>,
    pub tally: Tally,
}

impl Calls {
    async fn time<T>(&mut self, call: impl Future<Output = Result<T>>) {
        let began = Instant::now();
        let answer = call.await;
        self.took.push(began.elapsed());
        self.tally.note(answer);
    }

    /// How long 99 of 100 calls took at most.
    pub fn p99(&mut self) -> Duration {
        self.took.sort_unstable();
        p99(&self.took).unwrap_or_default()
    }
}

/// Starts an export and waits until it is complete and the webhook was told; people call and log in all the while.
pub async fn day(stage: &Stage, seconds: u32, player: &Account) -> Result<Day> {
    let (club, url, receiver) = (&stage.club, stage.server.url(), Receiver::start().await?);
    let hook = json!({"url": receiver.url("/hook"), "events": ["export.complete"]});
    let _: Value = club.client.post("/webhooks", &hook).await?;
    let export = club.start(seconds).await?;
    let served = async {
        let (took, row) = club.finished(&export).await?;
        let waiting = stage.waiting().await?;
        let is_its = |message: &Value| message["data"]["id"] == export.as_str();
        while !receiver.all().iter().any(|message| message.json().is_ok_and(|message| is_its(&message))) {
            sleep(POLL).await;
        }
        let told_after = (Utc::now() - crowd::moment(&row, "finished_at")?).as_seconds_f64();
        anyhow::Ok((took, waiting, told_after))
    };
    let (mut calls, mut logins) = (Calls::default(), Tally::default());
    let (took, waiting, told_after) = tokio::select! {
        served = timeout(PATIENCE, served) => served.context("the export or its message does not come")??,
        () = call(club, &export, &mut calls) => unreachable!("they call for ever"),
        () = log_in_often(&url, player, &mut logins) => unreachable!("they log in for ever"),
    };
    Ok(Day { took, told_after, waiting, calls, logins })
}

/// One call after the other: how far the export is, which videos there are, and now and then another export.
async fn call(club: &Club, export: &str, calls: &mut Calls) {
    let clip = copied(&club.video);
    loop {
        calls.time(club.client.start(&clip)).await;
        for _ in 0..10 {
            calls.time(club.client.export(export)).await;
            calls.time(club.client.get::<Value>("/videos")).await;
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Not among the calls that are timed: passwords are slow to check.
async fn log_in_often(url: &str, player: &Account, logins: &mut Tally) {
    loop {
        logins.note(Client::log_in(url, &player.email, &player.password).await);
        sleep(Duration::from_secs(1)).await;
    }
}
