//! What a deleted video leaves: nothing in caches at once, and no file in the end, even where a removal fails at first.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchline_tests::client::{Client, answered};
use touchline_tests::ffmpeg::ffmpeg;
use touchline_tests::nodes::Nodes;
use touchline_tests::server::{Account, Server};

const DEVICES: (&str, &str) = ("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#);
/// How long a removal may take on a busy machine: the pause after a failure, and the next look.
const PATIENCE: Duration = Duration::from_secs(180);

async fn match_of(club: &Client) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    let picture = ["-f", "lavfi", "-i", "testsrc2=size=160x90:rate=10:duration=1", "-pix_fmt", "yuv420p"];
    ffmpeg(picture.map(OsStr::new).into_iter().chain([file.as_os_str()]))?;
    Ok(club.upload(&file, 1 << 20, |_, _| {}).await?.id)
}

async fn delete(club: &Client, path: &str) -> Result<()> {
    let answer = answered(club.request(Method::DELETE, path).send().await?).await?;
    ensure!(answer.status() == StatusCode::NO_CONTENT, "{path} is answered {}", answer.status());
    Ok(())
}

async fn log_in(server: &Server, tenant: &str) -> Result<(Account, Client)> {
    let account = server.account(tenant, &format!("coach@{tenant}.example"), "editor")?;
    let client = Client::log_in(&server.url(), &account.email, &account.password).await?;
    Ok((account, client))
}

/// Moves a folder away and puts a link to a file in its place: nothing below its path can be removed.
fn break_folder(folder: &Path, moved: &Path) -> Result<()> {
    fs::rename(folder, moved)?;
    let file = moved.with_extension("file");
    fs::write(&file, "no folder")?;
    Ok(symlink(file, folder)?)
}

/// Lets the path lead to the folder again, in one step: there is no moment at which nothing is there.
fn mend_folder(folder: &Path, moved: &Path) -> Result<()> {
    let link = moved.with_extension("link");
    symlink(moved, &link)?;
    Ok(fs::rename(link, folder)?)
}

async fn is_removed(path: &Path) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while path.exists() {
        ensure!(Instant::now() < deadline, "{} is not removed", path.display());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_removal_that_fails_is_tried_again_also_after_a_restart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let variables = [DEVICES, ("TOUCHLINE__DEVICES__SIM_FRAME_MS", "1.0")];
    let mut server = Server::start_in(folder.path(), &variables).await?;
    let ((club, coach), (rival, other)) = (log_in(&server, "club").await?, log_in(&server, "rival").await?);
    let media = server.data_dir().join("media");
    let (first, second, others) = (match_of(&coach).await?, match_of(&coach).await?, match_of(&other).await?);
    let spec = json!({"kind": "framing", "clips": [{"video_id": second, "start": 0, "end": 1}],
        "output": {"width": 90, "height": 160, "fps": 10}});
    let export = coach.render(&spec, |_| {}).await?.id;
    let (videos, exports) = (media.join(&club.tenant_id).join("videos"), media.join(&club.tenant_id).join("exports"));
    let (moved_videos, moved_exports) = (folder.path().join("videos"), folder.path().join("exports"));
    break_folder(&videos, &moved_videos)?;
    break_folder(&exports, &moved_exports)?;

    for path in [format!("/exports/{export}"), format!("/videos/{first}"), format!("/videos/{second}")] {
        delete(&coach, &path).await?;
        assert_eq!(coach.request(Method::GET, &path).send().await?.status(), StatusCode::NOT_FOUND, "{path}");
    }
    // Another tenant's files go at once, whatever became of these.
    let theirs = media.join(&rival.tenant_id).join("videos").join(&others);
    ensure!(theirs.is_dir(), "{} is no folder", theirs.display());
    delete(&other, &format!("/videos/{others}")).await?;
    ensure!(!theirs.exists(), "another tenant's files are still there");

    let left = [moved_videos.join(&first), moved_videos.join(&second), moved_exports.join(&export)];
    ensure!(left.iter().all(|path| path.is_dir()), "files were removed already");
    mend_folder(&videos, &moved_videos)?;
    is_removed(&left[0]).await?;
    is_removed(&left[1]).await?;
    ensure!(server.stop()?.success());
    let _again = Server::start_in(folder.path(), &variables).await?;
    ensure!(left[2].is_dir(), "files were removed already");
    mend_folder(&exports, &moved_exports)?;
    is_removed(&left[2]).await
}

async fn detections(club: &Client, video: &str) -> Result<StatusCode> {
    Ok(club.request(Method::GET, &format!("/videos/{video}/detections")).send().await?.status())
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_detections_of_a_deleted_video_are_gone_at_every_node() -> Result<()> {
    let nodes = Nodes::start(&[DEVICES]).await?;
    let (_, here) = log_in(&nodes.here, "club").await?;
    let there = here.at(&nodes.there.url());
    let video = match_of(&here).await?;
    let _: Value = here.post(&format!("/videos/{video}/detections/frame"), &json!({"time": 0.5})).await?;
    for node in [&here, &there, &here, &there] {
        assert_eq!(detections(node, &video).await?, StatusCode::OK);
    }
    delete(&here, &format!("/videos/{video}")).await?;
    assert_eq!(detections(&here, &video).await?, StatusCode::NOT_FOUND, "after the answer nothing is cached");
    let deadline = Instant::now() + PATIENCE;
    while detections(&there, &video).await? != StatusCode::NOT_FOUND {
        ensure!(Instant::now() < deadline, "the other node goes on answering");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
