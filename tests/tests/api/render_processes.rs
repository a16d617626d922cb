//! Faults of decoders on purpose: each ends the one task that it happens in, with its reason, and nothing else.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::json;
use touchline_tests::client::{Client, Refusal, answered};
use touchline_tests::files_below;
use touchline_tests::process::{self, children};
use touchline_tests::scenarios::flows::{FlowClient, prepared, spec, variables};
use touchline_tests::scenarios::test_server::TestServer;
use touchline_tests::scenarios::{assert_met, cancels, process_kills};

/// Each fault, and what its reason names.
const FAULTS: [(&str, &str); 8] = [
    ("segfault", "SIGSEGV"),
    ("abort", "SIGABRT"),
    ("loop", "stopped after"),
    ("hang", "stopped after"),
    ("allocate", "memory allocation of 8589934592 bytes failed"),
    ("fork", "Operation not permitted"),
    ("open", "Permission denied"),
    ("connect", "Operation not permitted"),
];
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on prepared data whose render processes give up after two seconds, and fail as `faults` says.
async fn server(faults: &str) -> Result<(TestServer, FlowClient)> {
    let mut with = variables().to_vec();
    with.push(("TOUCHLINE__PROCESSES__STALL_S", "2"));
    let (mut server, client) = prepared(&with).await?;
    server.restart(Some(faults)).await?;
    Ok((server, client))
}

/// What a request was refused with, in words.
fn refusal(error: anyhow::Error, code: &str) -> Result<String> {
    let refusal = error.downcast::<Refusal>()?;
    ensure!(refusal.status == StatusCode::UNPROCESSABLE_ENTITY && refusal.problem["code"] == code, "{refusal}");
    Ok(refusal.problem["detail"].as_str().context("no detail")?.to_owned())
}

/// Waits until the template of `server` has no child, running or dead.
async fn nothing_runs(server: &TestServer) -> Result<()> {
    let id = server.id()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let all = children(id)?;
        ensure!(all.len() == 2, "the server has children beside both templates: {all:?}");
        let left = children(process::render_template(id)?.context("no template of render processes")?)?;
        if left.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "left: {left:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_fault_while_an_upload_is_inspected_refuses_it() -> Result<()> {
    for (fault, reason) in FAULTS {
        let (server, client) = server(&format!("task-inspect=return({fault})")).await?;
        let location = server.club.create_upload(client.source.len() as u64, "match.mp4").await?;
        let sent = server.club.send_piece(&location, 0, client.source.clone()).await;
        let detail = refusal(sent.err().context("it was accepted")?, "unreadable")?;
        ensure!(detail.contains(reason), "{fault}: {detail}");
        let left = files_below(&server.data_dir().join("uploads"))?;
        ensure!(left.is_empty(), "{fault} left {left:?}");
        ensure!(server.orphans().await?.is_empty(), "{fault} left files without a row");
        nothing_runs(&server).await.context(fault)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_fault_while_a_video_is_indexed_fails_it_for_good() -> Result<()> {
    for (fault, reason) in FAULTS {
        let (mut server, client) = server(&format!("task-index=return({fault})")).await?;
        let id = upload(&server.club, &client).await?;
        let failed = ended(&server.club, &id).await?;
        ensure!(failed.contains(reason), "{fault}: {failed}");
        // Without the fault, the file is not tried again.
        server.restart(None).await?;
        ensure!(ended(&server.club, &id).await? == failed, "{fault}: a restart opened it again");
        ensure!(server.orphans().await?.is_empty(), "{fault} left files without a row");
    }
    Ok(())
}

async fn upload(club: &Client, client: &FlowClient) -> Result<String> {
    let location = club.create_upload(client.source.len() as u64, "match.mp4").await?;
    club.send_piece(&location, 0, client.source.clone()).await?;
    Ok(location.rsplit('/').next().context("no id")?.to_owned())
}

/// Waits until a video is not being indexed any more: why it failed.
async fn ended(club: &Client, id: &str) -> Result<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let video = club.video(id).await?;
        match video.state.as_str() {
            "processing" => ensure!(Instant::now() < deadline, "it is still being indexed"),
            "failed" => return Ok(video.problem.context("no problem")?["detail"].to_string()),
            state => anyhow::bail!("the video is {state}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_fault_of_one_tenants_picture_disturbs_no_other_work() -> Result<()> {
    for (fault, reason) in FAULTS {
        let (server, client) = server(&format!("task-thumbnail=return({fault});task-frame=return({fault})")).await?;
        let export = server.club.start(&spec(&client.video)).await?.id;
        let video = &client.video;
        let thumbnail = server.club.request(Method::GET, &format!("/videos/{video}/thumbnail")).send();
        let frame = server.club.request(Method::POST, &format!("/videos/{video}/detections/frame"));
        let frame = frame.json(&json!({"frame": 3})).send();
        let (thumbnail, frame) = tokio::join!(thumbnail, frame);
        for answer in [thumbnail?, frame?] {
            let error = answered(answer).await.err().context("it succeeded")?;
            let detail = refusal(error, "unreadable")?;
            ensure!(detail.contains(reason), "{fault}: {detail}");
        }
        server.completed(&export).await?;
        ensure!(server.result(&export).await? == client.expected, "{fault}: the export beside it has other bytes");
        nothing_runs(&server).await.context(fault)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_template_is_replaced() -> Result<()> {
    let (server, client) = server("").await?;
    for _ in 0..3 {
        let template = process::render_template(server.id()?)?;
        process::kill(template.context("no template of render processes")?)?;
        let id = upload(&server.club, &client).await?;
        let deadline = Instant::now() + PATIENCE;
        while server.club.video(&id).await?.state != "ready" {
            ensure!(Instant::now() < deadline, "the video is not ready: {}", server.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

/// Where an export's own tasks can fail, and how its reason begins then.
const TASKS: [(&str, &str); 4] = [
    ("segment", "rendering: "),
    ("audio", "rendering the sound: "),
    ("join", "joining"),
    ("prepare", "reading the sources: "),
];

#[tokio::test]
async fn a_fault_of_a_segment_fails_its_export_and_no_other() -> Result<()> {
    for (fault, reason) in FAULTS {
        let (server, client) = server(&format!("task-segment=return({fault})")).await?;
        let failing = server.club.start(&spec(&client.video)).await?.id;
        // A copy has no segments: it goes through beside it.
        let copy = json!({"kind": "clip", "video_id": client.video, "start": 0.5, "end": 2.5, "mode": "copy"});
        let beside = server.club.start(&copy).await?.id;
        server.completed(&beside).await?;
        let detail = failure(&server, &failing).await?;
        ensure!(
            detail.contains("segment ") && detail.contains("rendering: ") && detail.contains(reason),
            "{fault}: {detail}"
        );
        ensure!(server.orphans().await?.is_empty(), "{fault} left files without a row");
        nothing_runs(&server).await.context(fault)?;
    }
    Ok(())
}

#[tokio::test]
async fn a_fault_of_any_task_of_an_export_is_in_its_reason() -> Result<()> {
    for (task, doing) in TASKS {
        let (server, client) = server(&format!("task-{task}=return(segfault)")).await?;
        let encode = json!({"kind": "clip", "video_id": client.video, "start": 0.5, "end": 2.5, "mode": "encode"});
        let asked = if task == "prepare" { encode } else { spec(&client.video) };
        let failing = server.club.start(&asked).await?.id;
        let detail = failure(&server, &failing).await?;
        ensure!(detail.contains(doing) && detail.contains("SIGSEGV"), "{task}: {detail}");
        ensure!(server.orphans().await?.is_empty(), "{task} left files without a row");
        nothing_runs(&server).await.context(task)?;
    }
    Ok(())
}

/// Waits until an export has failed: why.
async fn failure(server: &TestServer, export: &str) -> Result<String> {
    let ended = server.ended(export).await?;
    ensure!(ended.state == "failed", "the export is {}", ended.state);
    Ok(ended.problem.context("no problem")?["detail"].to_string())
}

#[tokio::test]
async fn killed_processes_cost_an_export_nothing() -> Result<()> {
    assert_met(&process_kills::run(process_kills::Size::TEST).await?);
    Ok(())
}

#[tokio::test]
async fn a_cancelled_export_leaves_no_process() -> Result<()> {
    assert_met(&cancels::run(cancels::Size::TEST).await?);
    Ok(())
}
