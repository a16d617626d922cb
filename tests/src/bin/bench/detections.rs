//! Cached detections against a handler that does nothing but send the same bytes: what everything around costs.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use reqwest::Method;
use serde_json::json;
use touchline_tests::client::{Client, answered};
use touchline_tests::server::Server;

use super::Bench;
use super::hammer::{Struck, strike};
use super::pairs::median;

/// The word on the command line that makes this program the bare server.
pub const BARE: &str = "bare-server";

const CONNECTIONS: usize = 32;
const LASTS: Duration = Duration::from_secs(4);
const WARM_UP: Duration = Duration::from_secs(1);
const PAIRS: usize = 5;
/// Frames of about 40 bytes each: a body of 2 kB.
const SECONDS: u32 = 5;

/// Serves the bytes of a file, and nothing else, for ever.
pub async fn serve_bare(file: &str) -> Result<()> {
    let body = Bytes::from(std::fs::read(file)?);
    let server = HttpServer::new(move || {
        let body = body.clone();
        let answer = move || {
            let body = body.clone();
            async move { HttpResponse::Ok().content_type("application/json").body(body) }
        };
        App::new().route("/", web::get().to(answer))
    });
    let server = server.workers(workers()).bind("127.0.0.1:0")?;
    println!("{}", server.addrs()[0]);
    Ok(server.run().await?)
}

/// As many as `touchline serve` has: one for each core.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The bare server as a process; it ends with this.
struct Bare {
    child: Child,
    address: String,
}

impl Bare {
    fn start(file: &Path) -> Result<Self> {
        let own = std::env::current_exe()?;
        let mut child = Command::new(own).arg(BARE).arg(file).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("the bare server has no output")?).read_line(&mut line)?;
        Ok(Self { child, address: line.trim().to_owned() })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bench {
    /// `GET …/detections` as users ask it, warm, against the bare handler.
    pub async fn cached_detections(&mut self) -> Result<()> {
        let source = self.source("detections", 320, 180, SECONDS)?;
        let server = Server::start(&[("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#)]).await?;
        let account = server.account("club", "coach@club.example", "viewer")?;
        let editor = server.account("club", "editor@club.example", "editor")?;
        let editor = Client::log_in(&server.url(), &editor.email, &editor.password).await?;
        let viewer = Client::log_in(&server.url(), &account.email, &account.password).await?;
        let video = editor.upload(&source, 1 << 20, |_, _| {}).await?.id;
        let spec = json!({"kind": "detection", "video_id": video, "every": 0.1});
        editor.render(&spec, |_| {}).await?;
        let path = format!("/videos/{video}/detections");
        let body = answered(viewer.request(Method::GET, &path).send().await?).await?.bytes().await?;
        ensure!((1000..4000).contains(&body.len()), "{} bytes are not about 2 kB", body.len());
        let file = self.folder.path().join("body.json");
        std::fs::write(&file, &body)?;
        let bare = Bare::start(&file)?;

        let path = format!("/api/v1{path}");
        let ask = |path: &str, token: &str| {
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")
        };
        let (theirs, ours) = (ask("/", viewer.token()), ask(&path, viewer.token()));
        let strike_bare = |connections, lasts| strike(&bare.address, &theirs, &body, connections, lasts);
        let strike_ours = |lasts| strike(server.address(), &ours, &body, CONNECTIONS, lasts);

        // Were the client the slower side, more connections would not change what the bare handler does.
        for connections in [1, 8, CONNECTIONS, 4 * CONNECTIONS] {
            let struck = strike_bare(connections, WARM_UP)?;
            eprintln!("  bare, {connections} connections: {}", described(&struck));
        }
        strike_ours(WARM_UP)?;
        let mut pairs = Vec::new();
        for pair in 0..self.pairs.unwrap_or(PAIRS) {
            // The second may find a warmer machine, so they take turns.
            let (mine, other) = if pair % 2 == 0 {
                let mine = strike_ours(LASTS)?;
                (mine, strike_bare(CONNECTIONS, LASTS)?)
            } else {
                let other = strike_bare(CONNECTIONS, LASTS)?;
                (strike_ours(LASTS)?, other)
            };
            eprintln!("  {} against bare {}", described(&mine), described(&other));
            pairs.push((mine, other));
        }
        let of = |value: fn(&(Struck, Struck)) -> f64| median(pairs.iter().map(value).collect());
        let ratio = of(|(mine, other)| mine.per_second / other.per_second);
        let slower = of(|(mine, other)| mine.p99 / other.p99);
        let found = format!(
            "{:.0} of {:.0}/s = {ratio:.2}",
            of(|(mine, _)| mine.per_second),
            of(|(_, other)| other.per_second)
        );
        self.note("cached detections against a bare handler: requests", found, ">= 0.50", ratio >= 0.5);
        let found =
            format!("{:.1}/{:.1} ms = {slower:.2}x", of(|(mine, _)| mine.p99) * 1e3, of(|(_, other)| other.p99) * 1e3);
        self.note("cached detections against a bare handler: p99", found, "<= 3x", slower <= 3.0);
        Ok(())
    }
}

fn described(struck: &Struck) -> String {
    format!("{:.0}/s, p50 {:.2} ms, p99 {:.2} ms", struck.per_second, struck.p50 * 1e3, struck.p99 * 1e3)
}
