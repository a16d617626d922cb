//! A tus client that is not ours, tus-js-client under node: what it began before it was killed, and before the server
//! was, it goes on with.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};
use touchline_tests::client::{Client, answered};
use touchline_tests::footage;
use touchline_tests::forward::Forward;
use touchline_tests::repository;
use touchline_tests::server::Server;

const DEVICES: [(&str, &str); 1] = [("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#)];

/// `tests/tools/upload.mjs`, running. It is killed when dropped.
struct Uploader {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Uploader {
    /// Begins to upload the fixture's file; at half of it, it waits if `waits`.
    fn start(fixture: &Fixture, waits: bool) -> Result<Self> {
        let tools = repository().join("tests/tools");
        ensure!(
            tools.join("node_modules/tus-js-client").is_dir(),
            "tests/tools/node_modules is missing; run `scripts/setup tests`"
        );
        let node = repository().join("tools/node/bin/node");
        let mut child = Command::new(&node)
            .arg(tools.join("upload.mjs"))
            .arg(&fixture.file)
            .arg(format!("{}/api/v1/uploads", fixture.forward.url()))
            .arg(fixture.club.token())
            .arg(fixture.folder.path().join("urls.json"))
            .args(waits.then(|| (fixture.bytes.len() / 2).to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}: `scripts/setup` unpacks it", node.display()))?;
        let lines = BufReader::new(child.stdout.take().context("node has no output")?).lines();
        Ok(Self { child, lines })
    }

    /// Lets one that waits go on.
    fn go_on(&mut self) -> Result<()> {
        let mut ear = self.child.stdin.take().context("it has gone on already")?;
        Ok(ear.write_all(b"\n")?)
    }

    /// What it says next under `word`.
    fn hear(&mut self, word: &str) -> Result<Value> {
        for line in self.lines.by_ref() {
            let line = line?;
            let said: Value = serde_json::from_str(&line).with_context(|| format!("the uploader says {line}"))?;
            ensure!(said["error"].is_null(), "the uploader says {said}");
            if !said[word].is_null() {
                return Ok(said[word].clone());
            }
        }
        anyhow::bail!("the uploader ended without a word of {word}")
    }
}

impl Drop for Uploader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server behind a port that stays, and a file for it.
struct Fixture {
    folder: tempfile::TempDir,
    server: Server,
    forward: Forward,
    club: Client,
    file: PathBuf,
    bytes: Vec<u8>,
}

impl Fixture {
    async fn open() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let server = Server::start_in(folder.path(), &DEVICES).await?;
        let account = server.account("club", "coach@club.example", "editor")?;
        let club = Client::log_in(&server.url(), &account.email, &account.password).await?;
        let forward = Forward::to(server.address()).await?;
        let file = folder.path().join("match.mov");
        // Lossless, so that a few seconds are some megabytes.
        let lossless = ["-c:v", "libx264", "-qp", "0", "-preset", "ultrafast", "-c:a", "pcm_s16le"];
        footage::stamped(&file, "30", 12, None, &lossless)?;
        let bytes = fs::read(&file)?;
        ensure!(bytes.len() > 1 << 20, "{} bytes are too few to be cut in the middle", bytes.len());
        Ok(Self { folder, server, forward, club, file, bytes })
    }

    /// Kills the server and starts another one on its data, behind the same port.
    async fn restart(&mut self) -> Result<()> {
        self.server.kill()?;
        self.server = Server::start_in(self.folder.path(), &DEVICES).await?;
        self.forward.turn_to(self.server.address());
        self.club = self.club.at(&self.server.url());
        Ok(())
    }

    /// Waits until the video of an upload is ready, and compares every byte.
    async fn check(&self, upload: &str) -> Result<()> {
        let id = Path::new(upload).file_name().and_then(|id| id.to_str()).context("the upload has no id")?;
        while self.club.video(id).await?.state == "processing" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let video = self.club.video(id).await?;
        assert_eq!((video.state.as_str(), video.name.as_str()), ("ready", "match.mov"), "{:?}", video.problem);
        let file = self.club.request(Method::GET, &format!("/videos/{id}/file")).send().await?;
        let stored = answered(file).await?.bytes().await?;
        assert_eq!(
            Sha256::digest(&stored),
            Sha256::digest(&self.bytes),
            "{} bytes are not what was sent",
            stored.len()
        );
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_client_goes_on_at_another_server_from_the_address_it_kept() -> Result<()> {
    let mut fixture = Fixture::open().await?;
    let mut first = Uploader::start(&fixture, true)?;
    let stopped = first.hear("stopped_at")?.as_u64().context("bytes")?;
    drop(first);
    fixture.restart().await?;

    let mut second = Uploader::start(&fixture, false)?;
    let from = second.hear("went_on_from")?.as_u64().context("bytes")?;
    assert!(0 < from && from <= stopped, "it went on from {from}, after {stopped} bytes were sent");
    let url = second.hear("url")?;
    fixture.check(url.as_str().context("an address")?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stays_goes_on_by_itself_when_the_server_is_back() -> Result<()> {
    let mut fixture = Fixture::open().await?;
    let mut uploader = Uploader::start(&fixture, true)?;
    let sent = uploader.hear("stopped_at")?.as_u64().context("bytes")?;
    fixture.restart().await?;
    uploader.go_on()?;
    let from = uploader.hear("went_on_from")?.as_u64().context("bytes")?;
    assert!(0 < from && from <= sent, "it went on from {from}, after {sent} bytes were sent");
    let url = uploader.hear("url")?;
    fixture.check(url.as_str().context("an address")?).await
}
