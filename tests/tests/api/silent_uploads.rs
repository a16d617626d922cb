//! Uploads whose connection broke without a word: a newer request takes over, and nothing acknowledged is lost.

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use touchline_tests::client::{Client, answered};
use touchline_tests::ffmpeg::ffmpeg;
use touchline_tests::files_below;
use touchline_tests::server::Server;
use touchline_tests::shared_server::{shared_server, unique};

/// How long an answer of an old connection may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Fixture {
    server: &'static Server,
    club: Client,
    bytes: Vec<u8>,
    /// Below `/api/v1`.
    upload: String,
}

async fn fixture() -> Result<Fixture> {
    let (server, tenant) = (shared_server().await?, unique("club"));
    let account = server.account(&tenant, &format!("coach@{tenant}.example"), "editor")?;
    let club = Client::log_in(&server.url(), &account.email, &account.password).await?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=10:duration=2", "-pix_fmt", "yuv420p"];
    ffmpeg(picture.map(OsStr::new).into_iter().chain([file.as_os_str()]))?;
    let bytes = std::fs::read(&file)?;
    let upload = club.create_upload(bytes.len() as u64, "match.mp4").await?;
    Ok(Fixture { server, club, bytes, upload })
}

impl Fixture {
    fn half(&self) -> usize {
        self.bytes.len() / 2
    }

    /// A connection with a `PATCH` of the whole file, of which these bytes are sent.
    async fn patch(&self, sent: &[u8], more: &str) -> Result<TcpStream> {
        let mut stream = TcpStream::connect(self.server.address()).await?;
        let head = format!(
            "PATCH /api/v1{} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nTus-Resumable: 1.0.0\r\n\
            Upload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: {}\r\n{more}\r\n",
            self.upload,
            self.server.address(),
            self.club.token(),
            self.bytes.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(sent).await?;
        // It has written what was sent, so the next request is a newer one.
        let (uploads, id) = (self.server.data_dir().join("uploads"), self.upload.rsplit('/').next().context("an id")?);
        let deadline = Instant::now() + PATIENCE;
        let has_written = |file: &String| {
            let bytes = std::fs::metadata(file).map(|file| file.len());
            file.ends_with(id) && bytes.is_ok_and(|bytes| bytes == sent.len() as u64)
        };
        while !files_below(&uploads)?.iter().any(has_written) {
            ensure!(Instant::now() < deadline, "the request did not write what was sent");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(stream)
    }

    /// Waits until an old request was ended by a newer one.
    async fn is_superseded(&self, old: &mut TcpStream, received: usize) -> Result<()> {
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        let read = async {
            while !answer.windows(17).any(|window| window == b"upload_superseded") {
                let bytes = old.read(&mut buffer).await?;
                ensure!(bytes > 0, "the old request was hung up on after {}", String::from_utf8_lossy(&answer));
                answer.extend_from_slice(&buffer[..bytes]);
            }
            Ok(())
        };
        tokio::time::timeout(PATIENCE, read).await.context("the old request has no answer")??;
        let answer = String::from_utf8_lossy(&answer).to_lowercase();
        ensure!(answer.starts_with("http/1.1 409 "), "{answer}");
        ensure!(answer.contains(&format!("\r\nupload-offset: {received}\r\n")), "{answer}");
        Ok(())
    }

    /// Sends what is missing and compares the video's file.
    async fn completes_from(&self, offset: usize) -> Result<()> {
        let length = self.bytes.len() as u64;
        ensure!(self.club.send_piece(&self.upload, offset as u64, self.bytes[offset..].to_vec()).await? == length);
        let id = self.upload.rsplit('/').next().context("an id")?;
        let file = self.club.request(Method::GET, &format!("/videos/{id}/file")).send().await?;
        ensure!(answered(file).await?.bytes().await? == self.bytes, "the file is another one than was sent");
        Ok(())
    }
}

#[tokio::test]
async fn asking_for_the_offset_ends_a_silent_request_and_counts_its_bytes() -> Result<()> {
    let fixture = fixture().await?;
    let half = fixture.half();
    let mut old = fixture.patch(&fixture.bytes[..half], "").await?;
    assert_eq!(fixture.club.upload_offset(&fixture.upload).await?, half as u64);
    fixture.is_superseded(&mut old, half).await?;
    // The old connection comes back to life, with bytes that must not get into the file. It may be closed already.
    let _ = old.write_all(&vec![0xff; 1000]).await;
    fixture.completes_from(half).await
}

#[tokio::test]
async fn a_newer_piece_takes_over_from_a_silent_one() -> Result<()> {
    let fixture = fixture().await?;
    let half = fixture.half();
    let mut old = fixture.patch(&fixture.bytes[..half], "").await?;
    // Late bytes of the old request, while the newer one writes.
    let late = async {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        // The connection may be closed already.
        let _ = old.write_all(&vec![0xff; 100_000]).await;
        Ok(())
    };
    let (late, completed): (Result<()>, _) = tokio::join!(late, fixture.completes_from(half));
    completed.and(late)
}

#[tokio::test]
async fn a_piece_with_a_checksum_counts_whole_or_not_at_all_when_it_falls_silent() -> Result<()> {
    let fixture = fixture().await?;
    let checksum = "Upload-Checksum: sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=\r\n";
    let mut old = fixture.patch(&fixture.bytes[..fixture.half()], checksum).await?;
    assert_eq!(fixture.club.upload_offset(&fixture.upload).await?, 0);
    fixture.is_superseded(&mut old, 0).await?;
    fixture.completes_from(0).await
}

#[tokio::test]
async fn an_active_request_keeps_its_upload() -> Result<()> {
    let fixture = fixture().await?;
    let mut old = fixture.patch(&[], "").await?;
    let newer = async {
        for method in [Method::PATCH, Method::DELETE] {
            let request = fixture.club.request(method.clone(), &fixture.upload).header("Tus-Resumable", "1.0.0");
            let request = request.header("Upload-Offset", 0).header("Content-Type", "application/offset+octet-stream");
            let answer = request.body(if method == Method::PATCH { "x" } else { "" }).send().await?;
            ensure!(answer.status() == StatusCode::LOCKED, "{method} is answered {}", answer.status());
        }
        fixture.club.upload_offset(&fixture.upload).await?;
        Ok(())
    };
    // A byte every now and then, as long as the newer requests take.
    let mut sent = 0;
    {
        let dribble = async {
            loop {
                old.write_all(&fixture.bytes[sent..=sent]).await?;
                sent += 1;
                ensure!(sent < fixture.half(), "the newer requests are not answered");
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        };
        tokio::select! {
            answered = newer => answered?,
            failed = dribble => failed.map(|(): ()| ())?,
        }
    }
    old.write_all(&fixture.bytes[sent..]).await?;
    let mut answer = [0; 12];
    tokio::time::timeout(PATIENCE, old.read_exact(&mut answer)).await.context("the old request has no answer")??;
    assert_eq!(&answer, b"HTTP/1.1 204");
    Ok(())
}
