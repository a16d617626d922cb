//! Every point at which something durable is done is crashed at in turn; then the client asks again. Whatever the point,
//! the outcome is that of an undisturbed server.

use std::time::Duration;

use actors::failpoints::Point;
use anyhow::{Context, Result};
use futures_util::{StreamExt, stream};

use super::flows::{Flow, prepared, variables};
use super::{Finding, Running};

/// How thoroughly it is crashed.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Each point is crashed at when it is passed for the first time, the second, up to this one.
    pub times: u32,
    /// Servers at a time.
    pub at_once: usize,
}

impl Size {
    /// For every test run.
    pub const TEST: Self = Self { times: 1, at_once: 3 };
    /// For a soak.
    pub const SOAK: Self = Self { times: 4, at_once: 2 };
}

/// How long a server may take to come to a point.
const PATIENCE: Duration = Duration::from_secs(20);

/// Crashes at every point.
pub fn run(size: Size) -> Running {
    Box::pin(measure(size))
}

async fn measure(size: Size) -> Result<Vec<Finding>> {
    let crashes = Point::ALL.iter().flat_map(|&point| (0..times(point, size)).map(move |before| (point, before)));
    let found = stream::iter(crashes)
        .map(|(point, before)| async move {
            let outcome = crash(point, before).await;
            finding(point, before, outcome)
        })
        .buffered(size.at_once)
        .filter_map(std::future::ready);
    Ok(found.collect().await)
}

/// The state goes forward four times, and each is another crash. A failed export is asked for once more, no oftener; one
/// that was cancelled is not cancelled again.
fn times(point: Point, size: Size) -> u32 {
    match point {
        Point::StateAdvanced => size.times.max(4),
        Point::ExportFailed => size.times.min(2),
        Point::ExportCancelled | Point::ExportRetried => size.times.min(1),
        _ => size.times,
    }
}

/// A point that is not passed so often is no finding; one that is never passed is.
fn finding(point: Point, before: u32, outcome: Result<bool>) -> Option<Finding> {
    let what = match before {
        0 => format!("crash at {}", point.name()),
        before => format!("crash at {}, passed {before} times before", point.name()),
    };
    let (found, met) = match outcome {
        Ok(true) => ("the same".to_owned(), true),
        Ok(false) if before > 0 => return None,
        Ok(false) => ("never reached".to_owned(), false),
        Err(error) => (format!("{error:#}"), false),
    };
    Some(Finding::new(what, "as without it, nothing left over", found, met))
}

/// Devices on which an export lasts for half a minute: one that has ended is not cancelled, and on a loaded machine the
/// request comes seconds late.
const SLOWER: (&str, &str) = ("TOUCHLINE__DEVICES__SIM_FRAME_MS", "6000.0");

/// Crashes at one point and runs the flow again; false when the point was not reached.
async fn crash(point: Point, before: u32) -> Result<bool> {
    let (flow, others) = Flow::through(point);
    let (mut server, mut client) = prepared(&variables()).await?;
    let before = if before > 0 { format!("{before}*off->") } else { String::new() };
    if flow == Flow::Cancel {
        server.set(&[variables().as_slice(), &[SLOWER]].concat());
    }
    server.restart(Some(&format!("{others}{}={before}return(crash)", point.name()))).await?;
    let outcome = client.run(&server, flow).await;
    // A flow that went through may have passed the point after its answer; one that did not, has.
    let patience = if outcome.is_ok() { Duration::from_millis(500) } else { PATIENCE };
    if !server.dies_within(patience).await? {
        return outcome.map(|()| false).context("the server goes on, but the flow did not");
    }
    server.set(&variables());
    if flow == Flow::Cancel {
        // What a cancelled export leaves must be gone before it is requested again.
        server.restart(None).await?;
        let orphans = server.orphans().await?;
        anyhow::ensure!(orphans.is_empty(), "left over after the restart: {orphans:?}");
    }
    server.restart(None).await?;
    client.run(&server, flow).await.with_context(|| format!("after the crash; the log: {}", server.log()))?;
    let orphans = server.orphans().await?;
    anyhow::ensure!(orphans.is_empty(), "left over: {orphans:?}");
    server.stop()?;
    Ok(true)
}
