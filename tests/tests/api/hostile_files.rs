//! Files that are made to hurt, and one that ends the server: it is not opened for ever.

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;
use touchline_tests::ffmpeg::ffmpeg;
use touchline_tests::scenarios::{assert_met, hostile_files};
use touchline_tests::server::Server;

#[tokio::test]
async fn hostile_files_are_answered_and_others_are_served() -> Result<()> {
    assert_met(&hostile_files::run(hostile_files::Size::TEST).await?);
    Ok(())
}

/// Crashes whenever an index is built, as a decoder does on a poisonous file.
const POISON: (&str, &str) = ("FAILPOINTS", "video-indexed=return(crash)");
const SIMULATED: (&str, &str) = ("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#);

#[tokio::test]
async fn a_file_that_ends_the_server_three_times_is_not_opened_again() -> Result<()> {
    let data = tempfile::tempdir()?;
    let path = data.path().join("match.mp4");
    let input = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30:duration=1", "-pix_fmt", "yuv420p"];
    ffmpeg(input.map(OsStr::new).into_iter().chain([path.as_os_str()]))?;

    let mut server = Server::start_in(data.path(), &[SIMULATED, POISON]).await?;
    let club = hostile_files::editor(&server, "club").await?;
    // The crash may come before the answer to the last piece.
    let _ = club.send(&path, 1 << 20, |_, _| {}).await;
    ended(&mut server).await?;
    for _ in 0..2 {
        // The crash may come before the server listens, which is an error of starting it.
        if let Ok(mut server) = Server::spawn(data.path(), &[SIMULATED, POISON]) {
            ended(&mut server).await?;
        }
    }

    let server = Server::start_in(data.path(), &[SIMULATED, POISON]).await?;
    let club = club.at(&server.url());
    let deadline = Instant::now() + Duration::from_secs(30);
    let video = loop {
        let page: Value = club.get("/videos").await?;
        let video = page["items"][0].clone();
        if video["state"] != "processing" || Instant::now() > deadline {
            break video;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    ensure!(video["state"] == "failed", "{video}");
    ensure!(video["problem"]["code"] == "unreadable", "{video}");
    ensure!(video["problem"]["detail"].as_str().is_some_and(|detail| detail.contains("3 times")), "{video}");
    Ok(())
}

/// Waits until a server has ended by itself.
async fn ended(server: &mut Server) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !server.has_ended()? {
        ensure!(Instant::now() < deadline, "the server goes on: {}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
