//! The main job through the public API, with the real models: a club uploads, frames a player, watches, downloads,
//! reads detections and shares, and another club sees nothing of it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchline_tests::client::{Client, Read, Refusal};
use touchline_tests::ffmpeg::ffmpeg;
use touchline_tests::server::Server;

const WALKERS: &str = "/usr/share/doc/opencv-doc/examples/data/vtest.avi";

/// Four seconds of people walking (10 frames a second), from the moment three of them are in the middle.
fn footage(folder: &Path) -> Result<PathBuf> {
    let path = folder.join("match.mp4");
    let sound = "sine=frequency=440:duration=4";
    let input = ["-ss", "38.5", "-t", "4", "-i", WALKERS, "-f", "lavfi", "-i", sound, "-c:v", "libx264", "-c:a", "aac"];
    ffmpeg(input.map(std::ffi::OsStr::new).into_iter().chain([path.as_os_str()]))?;
    Ok(path)
}

fn spec(video: &str, mode: &str) -> Value {
    let crop = |time: f64, x: f64| json!({"time": time, "x": x, "y": 60.0, "width": 270.0, "height": 480.0});
    json!({
        "kind": "framing", "output": {"width": 360, "height": 640, "preset": "veryfast"},
        "upscale": {"mode": mode, "quality": "draft"},
        "clips": [
            {"video_id": video, "name": "Goal", "start": 0.5, "end": 2.5, "crop": [crop(0.0, 200.0), crop(2.0, 260.0)]},
            {"video_id": video, "start": 2.0, "end": 3.0, "crop": [crop(0.0, 240.0)]},
        ],
    })
}

fn status_of(error: &anyhow::Error) -> Option<StatusCode> {
    error.downcast_ref::<Refusal>().map(|refusal| refusal.status)
}

struct Fixture {
    server: Server,
    folder: tempfile::TempDir,
    club: Client,
    stranger: Client,
}

async fn fixture() -> Result<Fixture> {
    let server = Server::start(&[("TOUCHLINE__SEGMENTS__SECONDS", "1.0")]).await?;
    let mut clients = Vec::new();
    for (tenant, email) in [("club", "coach@club.example"), ("rival", "spy@rival.example")] {
        let account = server.account(tenant, email, "editor")?;
        clients.push(Client::log_in(&server.url(), &account.email, &account.password).await?);
    }
    let (stranger, club) = (clients.pop().context("two")?, clients.pop().context("two")?);
    Ok(Fixture { server, folder: tempfile::tempdir()?, club, stranger })
}

#[tokio::test]
async fn a_club_uploads_frames_watches_downloads_and_shares() -> Result<()> {
    let Fixture { mut server, folder, club, stranger } = fixture().await?;
    let mut pieces = 0;
    let video = club.upload(&footage(folder.path())?, 100_000, |_, _| pieces += 1).await?;
    assert!(pieces > 1, "the upload came in one piece");
    assert_eq!((video.width, video.height), (Some(768), Some(576)));

    let (mut last, mut states) = (0.0, Vec::new());
    let export = club
        .render(&spec(&video.id, "ai"), |progress| {
            assert!(progress.progress >= last, "progress went back");
            last = progress.progress;
            states.push(progress.state.clone());
        })
        .await?;
    assert_eq!(last, 1.0);
    assert_eq!(states.last().map(String::as_str), Some("complete"));
    assert_eq!(export.frames_total, 90);
    // Ten source frames a second give thirty output frames a second: each is inferred once a segment at most.
    assert!((30..=36).contains(&export.frames_inferred), "{} frames were inferred", export.frames_inferred);
    assert!(!export.simulated);

    let reel = folder.path().join("reel.mp4");
    club.download(&export.id, &reel).await?;
    let index = media::build_index(&reel)?;
    assert_eq!(index.len(), 90);
    let probe = media::probe(&reel)?;
    assert_eq!((probe.width, probe.height), (360, 640));
    assert!(probe.audio.is_some());

    detections(&club, &export.id).await?;
    ranges_and_links(&club, &server, &export.id, &reel).await?;
    strangers_see_nothing(&stranger, &video.id, &export.id).await?;
    ensure!(server.stop()?.success(), "the server did not stop cleanly: {}", server.log());
    Ok(())
}

async fn detections(club: &Client, export: &str) -> Result<()> {
    let served = club.metric("touchline_device_frames_total").await?;
    ensure!(served > 0.0, "no device frame was counted");
    let Read::Fresh { value, etag, .. } = club.detections(export, None).await? else {
        anyhow::bail!("nothing was held, and yet it is not modified");
    };
    assert_eq!((value.width, value.height), (360, 640));
    let frames: Vec<u64> = value.frames.iter().map(|frame| frame.frame).collect();
    assert_eq!(frames, [0, 20, 40, 59, 60, 70, 80, 89], "the four points of each clip, the last one clamped");
    let boxed = value.frames.iter().filter(|frame| !frame.boxes.is_empty()).count();
    assert!(boxed >= 4, "walkers were found in {boxed} of {} frames", value.frames.len());
    assert!(value.frames.iter().flat_map(|frame| &frame.boxes).all(|found| found.label == "person"));
    assert!(matches!(club.detections(export, Some(&etag)).await?, Read::NotModified));
    // Confidences are rounded to hundredths.
    for (confidence, same) in [("0.5", true), ("0.5004", true), ("0.99", false)] {
        let path = format!("/exports/{export}/detections?confidence={confidence}");
        let answer = club.request(Method::GET, &path).send().await?.error_for_status()?;
        let found = answer.headers().get("etag").context("no ETag")?.to_str()?;
        assert_eq!(found.trim_matches('"') == etag.trim_matches('"'), same, "{confidence}: {found}, not {etag}");
    }
    assert_eq!(club.metric("touchline_device_frames_total").await?, served, "reading detections ran inference");
    Ok(())
}

async fn ranges_and_links(club: &Client, server: &Server, export: &str, reel: &Path) -> Result<()> {
    let whole = std::fs::read(reel)?;
    let path = format!("/exports/{export}/file");
    let part = club.request(Method::GET, &path).header("Range", "bytes=10-29").send().await?;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.bytes().await?, whole[10..30]);

    let link: Value = club.post(&format!("/exports/{export}/links"), &json!({"expires_in": 600})).await?;
    let url = link["url"].as_str().context("the link has no url")?;
    let url = if url.starts_with("http") { url.to_owned() } else { format!("{}{url}", server.url()) };
    let anyone = reqwest::Client::new();
    let shared = anyone.get(&url).header("Origin", "https://club.example").send().await?;
    assert_eq!(shared.status(), StatusCode::OK);
    assert!(shared.headers().contains_key("access-control-allow-origin"), "a browser elsewhere may not play it");
    assert_eq!(shared.bytes().await?, whole);
    let forged = anyone.get(url.replace("signature=", "signature=A")).send().await?;
    assert_eq!(forged.status(), StatusCode::UNAUTHORIZED);
    let revoke = format!("/links/{}", link["id"].as_str().context("the link has no id")?);
    assert!(club.request(Method::DELETE, &revoke).send().await?.status().is_success());
    assert_ne!(anyone.get(&url).send().await?.status(), StatusCode::OK);
    Ok(())
}

async fn strangers_see_nothing(stranger: &Client, video: &str, export: &str) -> Result<()> {
    for path in [
        format!("/videos/{video}"),
        format!("/videos/{video}/file"),
        format!("/videos/{video}/detections"),
        format!("/exports/{export}"),
        format!("/exports/{export}/file"),
        format!("/exports/{export}/detections"),
        format!("/uploads/{video}"),
    ] {
        let answer = stranger.request(Method::GET, &path).header("Tus-Resumable", "1.0.0").send().await?.status();
        let hidden = answer == StatusCode::NOT_FOUND || answer == StatusCode::METHOD_NOT_ALLOWED;
        ensure!(hidden, "GET {path} answers a stranger {answer}");
        let answer = stranger.request(Method::DELETE, &path).header("Tus-Resumable", "1.0.0").send().await?.status();
        let hidden = answer == StatusCode::NOT_FOUND || answer == StatusCode::METHOD_NOT_ALLOWED;
        ensure!(hidden, "DELETE {path} answers a stranger {answer}");
    }
    for list in ["/videos", "/exports"] {
        let page: Value = stranger.get(list).await?;
        assert_eq!(page["items"], json!([]), "{list}");
    }
    let refused = stranger.start(&spec(video, "lanczos")).await.expect_err("another tenant's video");
    assert_eq!(status_of(&refused), Some(StatusCode::UNPROCESSABLE_ENTITY));
    let silent = stranger.watch(export, |_| panic!("a stranger heard of the export")).await;
    assert!(silent.is_err());
    Ok(())
}

/// A server that is killed in mid-export goes on at its next start, and makes the same bytes.
#[tokio::test]
async fn a_killed_server_goes_on_and_makes_the_same_bytes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let variables = [("TOUCHLINE__SEGMENTS__SECONDS", "1.0"), ("TOUCHLINE__DEVICES__LIST", r#"["cpu:0"]"#)];
    let mut server = Server::start_in(folder.path(), &variables).await?;
    let account = server.account("club", "coach@club.example", "editor")?;
    let club = Client::log_in(&server.url(), &account.email, &account.password).await?;
    let video = club.upload(&footage(folder.path())?, 1 << 20, |_, _| {}).await?;
    let whole = club.render(&spec(&video.id, "ai"), |_| {}).await?;
    let uninterrupted = folder.path().join("whole.mp4");
    club.download(&whole.id, &uninterrupted).await?;

    let started = club.start(&spec(&video.id, "ai")).await?;
    loop {
        let export = club.export(&started.id).await?;
        ensure!(export.state != "complete", "the export was too quick to be interrupted");
        if export.frames_done > 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    server.kill()?;

    let server = Server::start_in(folder.path(), &variables).await?;
    let club = Client::log_in(&server.url(), &account.email, &account.password).await?;
    club.watch(&started.id, |_| {}).await?;
    let export = club.export(&started.id).await?;
    ensure!(export.state == "complete", "{:?}", export.problem);
    let resumed = folder.path().join("resumed.mp4");
    club.download(&started.id, &resumed).await?;
    assert!(std::fs::read(resumed)? == std::fs::read(uninterrupted)?, "the resumed export has other bytes");
    let work = server.data_dir().join("work");
    assert_eq!(std::fs::read_dir(work)?.count(), 0, "unfinished files are left");
    Ok(())
}
