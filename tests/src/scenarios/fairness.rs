//! One tenant queues fifty exports, nine have one each: none of the nine waits for the fifty. And tenants of different weights
//! share as they weigh.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::try_join_all;
use serde_json::Value;

use super::crowd::{self, Club};
use super::{Finding, Running};
use crate::client::Client;

/// How big the scenario is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// What a simulated device takes for a frame, in milliseconds.
    pub frame_ms: f64,
    /// Segments of each of the nine exports.
    pub segments: u32,
    /// For how long the shares of weighted tenants are watched.
    pub weighted: Duration,
}

impl Size {
    /// For tests.
    pub const TEST: Self = Self { frame_ms: 100.0, segments: 15, weighted: Duration::from_secs(12) };
    /// For `make soak`.
    pub const SOAK: Self = Self { frame_ms: 100.0, segments: 40, weighted: Duration::from_secs(60) };
}

/// Devices, and tenants: each one's share is a device.
const TENANTS: u32 = 10;
/// Exports of the first tenant.
const MANY: u32 = 50;
/// How long a tenant may wait for its first segment.
const PATIENCE: TimeDelta = TimeDelta::seconds(60);
const POLL: Duration = Duration::from_millis(100);
/// Segments that each tenant must have in the time over which shares are compared.
const LEAST_SEGMENTS: i64 = 10;

pub fn run(size: Size) -> Running {
    Box::pin(measure(size))
}

async fn measure(size: Size) -> Result<Vec<Finding>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    crowd::footage(&file, size.segments)?;

    let alone = {
        let (server, _) = crowd::server(1, size.frame_ms).await?;
        let club = crowd::club(&server, "alone", &file).await?;
        club.finished(&club.start(size.segments).await?).await?.0
    };
    let mut findings = equal_weights(size, &file, alone).await?;
    findings.extend(other_weights(size, &file).await?);
    Ok(findings)
}

async fn equal_weights(size: Size, file: &std::path::Path, alone: f64) -> Result<Vec<Finding>> {
    let (server, operator) = crowd::server(TENANTS, size.frame_ms).await?;
    let mut clubs = Vec::new();
    for number in 0..TENANTS {
        clubs.push(crowd::club(&server, &format!("club-{number}"), file).await?);
    }
    let (greedy, others) = clubs.split_first().context("there are tenants")?;
    for _ in 0..MANY {
        greedy.start(size.segments).await?;
    }
    let began = Utc::now();
    let exports = try_join_all(others.iter().map(|club| club.start(size.segments))).await?;
    let all_in = all_served(&operator, others, began).await?;
    let ends = try_join_all(others.iter().zip(&exports).map(|(club, export)| club.finished(export))).await?;
    let slowest = ends.iter().map(|(seconds, _)| *seconds).fold(0.0, f64::max) / alone;
    let mean = ends.iter().map(|(seconds, _)| *seconds).sum::<f64>() / ends.len() as f64 / alone;
    let first_end =
        ends.iter().map(|(_, row)| crowd::moment(row, "finished_at")).collect::<Result<Vec<_>>>()?.into_iter().min();
    let first_end = first_end.context("there are exports")?;
    let served = served(&operator, &clubs, all_in, first_end).await?;
    let (jain, segments) = (jain(served.iter().map(|(seconds, _)| *seconds)), served.iter().map(|(_, n)| *n).min());
    let busy = served.iter().map(|(seconds, _)| seconds).sum::<f64>()
        / ((first_end - all_in).as_seconds_f64() * f64::from(TENANTS));
    let accounts = accounts_are_exact(&operator, others, &ends, began).await?;
    Ok(vec![
        Finding::new(
            format!("{MANY} exports of one tenant beside 9 of nine, {TENANTS} simulated devices: the slowest of the 9"),
            "<= 1.3x its time on a tenth of the devices",
            format!("{slowest:.2}x of {alone:.1} s; the mean {mean:.2}x"),
            slowest <= 1.3,
        ),
        Finding::new(
            "Jain's index of the ten tenants' device seconds while all of them had work",
            format!(">= 0.98, at least {LEAST_SEGMENTS} segments a tenant"),
            format!("{jain:.4}, {} segments, devices {:.0} % busy", segments.unwrap_or(0), busy * 100.0),
            jain >= 0.98 && segments >= Some(LEAST_SEGMENTS),
        ),
        accounts,
    ])
}

/// Waits until every tenant has a finished segment: what the devices had begun before these came is done then.
async fn all_served(operator: &Client, clubs: &[Club], began: DateTime<Utc>) -> Result<DateTime<Utc>> {
    loop {
        let now = Utc::now();
        if served(operator, clubs, began, now).await?.iter().all(|(_, segments)| *segments > 0) {
            return Ok(now);
        }
        ensure!(now - began < PATIENCE, "a tenant has no segment finished after {PATIENCE}");
        tokio::time::sleep(POLL).await;
    }
}

/// Each tenant's device seconds and segments in a time, from the operator's accounts.
async fn served(operator: &Client, clubs: &[Club], from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<(f64, i64)>> {
    let time = |time: DateTime<Utc>| time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let usage: Value = operator.get(&format!("/admin/usage?from={}&to={}", time(from), time(to))).await?;
    let items = usage["items"].as_array().context("the accounts have items")?;
    let of = |club: &Club| {
        let line = items.iter().find(|line| line["tenant_id"] == club.tenant.as_str());
        let (seconds, entries) = (line.map(|line| &line["device_seconds"]), line.map(|line| &line["entries"]));
        (seconds.and_then(Value::as_f64).unwrap_or(0.0), entries.and_then(Value::as_i64).unwrap_or(0))
    };
    Ok(clubs.iter().map(of).collect())
}

/// (sum x)^2 / (n sum x^2): 1 when all have the same (Jain, Chiu and Hawe, 1984).
fn jain(shares: impl Iterator<Item = f64> + Clone) -> f64 {
    let (sum, squares) = (shares.clone().sum::<f64>(), shares.clone().map(|share| share * share).sum::<f64>());
    if squares > 0.0 { sum * sum / (shares.count() as f64 * squares) } else { 0.0 }
}

/// What each of the nine used is, in its accounts, what its export says.
async fn accounts_are_exact(
    operator: &Client,
    others: &[Club],
    ends: &[(f64, Value)],
    began: DateTime<Utc>,
) -> Result<Finding> {
    let served = served(operator, others, began, Utc::now()).await?;
    let reported = ends.iter().map(|(_, row)| row["device_seconds"].as_f64().unwrap_or(f64::NAN));
    let off =
        served.iter().zip(reported).map(|((seconds, _), reported)| (seconds - reported).abs()).fold(0.0, f64::max);
    Ok(Finding::new(
        "accounts of the nine tenants against what their exports say they took",
        "equal to the microsecond",
        format!("{off:.9} s apart at most"),
        off <= 1e-6,
    ))
}

async fn other_weights(size: Size, file: &std::path::Path) -> Result<Vec<Finding>> {
    const WEIGHTS: [f64; 3] = [1.0, 2.0, 4.0];
    let (server, operator) = crowd::server(4, size.frame_ms / 2.0).await?;
    let mut clubs = Vec::new();
    for (number, weight) in WEIGHTS.into_iter().enumerate() {
        let club = crowd::club(&server, &format!("club-{number}"), file).await?;
        crowd::weigh(&operator, &club.tenant, weight).await?;
        clubs.push(club);
    }
    // Enough for the heaviest: its share of 4 devices, twice.
    let each = size.weighted.as_secs_f64() * 4.0 * 2.0 / (f64::from(size.segments * crowd::FPS) * size.frame_ms / 2e3);
    for club in &clubs {
        for _ in 0..each.ceil() as u32 {
            club.start(size.segments).await?;
        }
    }
    // Each tenant's first segments are under way.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = device_seconds(&server).await?;
    tokio::time::sleep(size.weighted).await;
    let after = device_seconds(&server).await?;
    let used = |club: &Club| after.get(&club.tenant).unwrap_or(&0.0) - before.get(&club.tenant).unwrap_or(&0.0);
    let used: Vec<f64> = clubs.iter().map(used).collect();
    let (sum, weights) = (used.iter().sum::<f64>(), WEIGHTS.iter().sum::<f64>());
    ensure!(sum > 0.0, "no device worked");
    let off = used.iter().zip(WEIGHTS).map(|(used, weight)| (used / sum / (weight / weights) - 1.0).abs());
    let off = off.fold(0.0, f64::max);
    let shares: Vec<_> = used.iter().map(|used| format!("{:.2}", used / sum * weights)).collect();
    Ok(vec![Finding::new(
        format!("shares of tenants that weigh 1, 2 and 4, {sum:.0} device seconds"),
        "1 : 2 : 4 within 5 %",
        format!("{}: {:.1} % off at most", shares.join(" : "), off * 100.0),
        off <= 0.05,
    )])
}

/// Device seconds that each tenant was served since the start.
async fn device_seconds(server: &crate::server::Server) -> Result<HashMap<String, f64>> {
    crowd::metric_by(server, "touchline_tenant_device_seconds", "tenant").await
}
