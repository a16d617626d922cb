//! An upload whose server is killed at random bytes. The client asks where to go on; in the end the video is what it
//! sent, to the byte.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures_util::stream;
use reqwest::{Body, Method};
use sha2::{Digest, Sha256};

use super::flows::variables;
use super::test_server::TestServer;
use super::{Finding, Running};
use crate::footage;
use crate::random::Random;

/// How often the server is killed, and where the random numbers begin.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub kills: u32,
    pub seed: u64,
}

impl Size {
    /// For every test run.
    pub const TEST: Self = Self { kills: 6, seed: 11 };
    /// For a soak.
    pub const SOAK: Self = Self { kills: 60, seed: 13 };
}

/// Bytes the client hands over at a time; it pauses after each, as a network does.
const CHUNK: usize = 16 << 10;
const PAUSE: Duration = Duration::from_millis(2);

/// Kills a server in mid-upload, over and over.
pub fn run(size: Size) -> Running {
    Box::pin(measure(size))
}

async fn measure(size: Size) -> Result<Vec<Finding>> {
    eprintln!("uploads: seed {}", size.seed);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    // Lossless, so that a few seconds are some megabytes.
    let lossless = ["-c:v", "libx264", "-qp", "0", "-preset", "ultrafast", "-c:a", "pcm_s16le", "-f", "mov"];
    footage::stamped(&file, "30", 12, None, &lossless)?;
    let bytes = Bytes::from(std::fs::read(&file)?);
    let mut server = TestServer::open(&variables()).await?;
    let mut random = Random::new(size.seed);
    let (mut kills, mut uploads, mut equal, mut lost) = (0, 0, 0, 0);
    while kills < size.kills {
        let location = server.club.create_upload(bytes.len() as u64, "match.mov").await?;
        uploads += 1;
        let mut acknowledged = 0;
        while acknowledged < bytes.len() as u64 {
            if kills < size.kills {
                let whole = send_until_killed(&mut server, &location, &bytes, acknowledged, &mut random).await?;
                kills += u32::from(!whole);
            } else {
                let rest = bytes.slice(usize::try_from(acknowledged)?..).to_vec();
                server.club.send_piece(&location, acknowledged, rest).await?;
            }
            let offset = server.club.upload_offset(&location).await?;
            lost += u32::from(offset < acknowledged);
            acknowledged = offset;
        }
        equal += u32::from(is_there(&server, &location, &bytes).await?);
    }
    let orphans = server.orphans().await?;
    let what = |what: &str| format!("uploads, killed {} times in mid-piece: {what}", size.kills);
    Ok(vec![
        Finding::new(
            what("videos with the SHA-256 that was sent"),
            format!("{uploads} of {uploads}"),
            equal.to_string(),
            equal == uploads,
        ),
        Finding::new(what("acknowledged bytes that were gone"), "never", format!("{lost} times"), lost == 0),
        Finding::new(what("files without a row"), "none", format!("{orphans:?}"), orphans.is_empty()),
    ])
}

/// Sends a piece of random length and kills the server at a random byte of it; true when the piece was quicker, and
/// nothing was killed.
async fn send_until_killed(
    server: &mut TestServer,
    location: &str,
    bytes: &Bytes,
    from: u64,
    random: &mut Random,
) -> Result<bool> {
    let from = usize::try_from(from)?;
    let length = 1 + random.below(bytes.len() - from);
    let chunks = length.div_ceil(CHUNK);
    let doomed = PAUSE * u32::try_from(random.below(chunks + 2))?;
    let piece = bytes.slice(from..from + length);
    let request = server.club.request(Method::PATCH, location).header("Tus-Resumable", "1.0.0");
    let request = request.header("Upload-Offset", from).header("Content-Type", "application/offset+octet-stream");
    let mut sending = tokio::spawn(request.body(slowly(piece)).send());
    let answered = tokio::time::timeout(doomed, &mut sending).await;
    if let Ok(answer) = answered {
        let status = answer??.status();
        ensure!(status.is_success(), "a piece is answered with {status}");
        return Ok(true);
    }
    server.kill()?;
    // Whatever it says now, the client asks the next server.
    drop(sending.await);
    server.restart(None).await?;
    Ok(false)
}

/// A body that takes its time.
fn slowly(piece: Bytes) -> Body {
    Body::wrap_stream(stream::unfold(piece, |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(PAUSE).await;
        let chunk = rest.split_to(CHUNK.min(rest.len()));
        Some((Ok::<_, std::io::Error>(chunk), rest))
    }))
}

/// Whether the video has become ready, with the bytes that were sent.
async fn is_there(server: &TestServer, location: &str, bytes: &Bytes) -> Result<bool> {
    let id = location.rsplit('/').next().context("the upload's location has no id")?;
    while server.club.video(id).await?.state == "processing" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let stored = server.club.request(Method::GET, &format!("/videos/{id}/file")).send().await?.bytes().await?;
    Ok(server.club.video(id).await?.state == "ready" && Sha256::digest(&stored) == Sha256::digest(bytes))
}
