//! Asks for the same thing over and over on kept connections, one request at a time on each.
//!
//! As little as can be: one thread, no HTTP library. So it is the server that is measured, even on few cores.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Struck {
    pub per_second: f64,
    /// Seconds from the first byte asked to the last byte answered.
    pub p50: f64,
    pub p99: f64,
}

/// Sends `request` to `address` on so many connections for so long. Every answer has to be 200 and end with `body`.
///
/// # Errors
/// When one is something else.
pub fn strike(address: &str, request: &str, body: &[u8], connections: usize, lasts: Duration) -> Result<Struck> {
    // A thread of its own: the caller may be inside a runtime.
    std::thread::scope(|scope| scope.spawn(|| all(address, request, body, connections, lasts)).join())
        .map_err(|_| anyhow::anyhow!("the client panicked"))?
}

fn all(address: &str, request: &str, body: &[u8], connections: usize, lasts: Duration) -> Result<Struck> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let began = Instant::now();
        let asking = (0..connections).map(|_| one(address, request.as_bytes(), body, began + lasts));
        let took = futures_util::future::try_join_all(asking).await?;
        let seconds = began.elapsed().as_secs_f64();
        let mut took: Vec<f64> = took.into_iter().flatten().collect();
        ensure!(took.len() >= 100, "only {} answers came", took.len());
        took.sort_by(f64::total_cmp);
        let at = |share: f64| took[((took.len() as f64 * share).ceil() as usize).clamp(1, took.len()) - 1];
        Ok(Struck { per_second: took.len() as f64 / seconds, p50: at(0.5), p99: at(0.99) })
    })
}

async fn one(address: &str, request: &[u8], body: &[u8], until: Instant) -> Result<Vec<f64>> {
    let mut connection = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    connection.set_nodelay(true)?;
    let mut buffer = vec![0; body.len() + 4096];
    let mut took = Vec::new();
    while Instant::now() < until {
        let asked = Instant::now();
        connection.write_all(request).await?;
        let mut filled = 0;
        loop {
            let read = connection.read(&mut buffer[filled..]).await?;
            ensure!(read > 0, "the server closed a connection: {}", String::from_utf8_lossy(&buffer[..filled]));
            filled += read;
            // The head ends with the first empty line, the answer with the whole body.
            let answer = &buffer[..filled];
            let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
            if head.is_some_and(|head| filled >= head + 4 + body.len()) {
                break;
            }
        }
        took.push(asked.elapsed().as_secs_f64());
        let answer = &buffer[..filled];
        let right = answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(body);
        ensure!(right, "the server answers {}", String::from_utf8_lossy(answer));
    }
    Ok(took)
}
