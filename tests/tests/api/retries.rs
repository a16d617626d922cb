//! Repeated requests: idempotency keys, retries after a cause was removed, and retention.

use std::fs;

use anyhow::{Context, Result, ensure};
use chrono::{TimeDelta, Utc};
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchline_tests::client::{Client, Export, Refusal};
use touchline_tests::rows::Rows;
use touchline_tests::scenarios::flows::{FlowClient, prepared, retry, spec, variables};
use touchline_tests::scenarios::test_server::TestServer;
use touchline_tests::server::Account;

struct Club {
    server: TestServer,
    client: FlowClient,
}

/// A club with a video and a complete export; the server runs with `faults`.
async fn club(faults: Option<&str>) -> Result<Club> {
    let (mut server, client) = prepared(&variables()).await?;
    server.restart(faults).await?;
    Ok(Club { server, client })
}

fn refusal<T: std::fmt::Debug>(answer: Result<T>) -> Result<(StatusCode, String)> {
    let error = answer.err().context("it was not refused")?;
    let refusal = error.downcast::<Refusal>()?;
    Ok((refusal.status, refusal.problem["code"].as_str().unwrap_or_default().to_owned()))
}

fn code(export: &Export) -> Option<&str> {
    export.problem.as_ref()?["code"].as_str()
}

#[tokio::test]
async fn a_repeated_request_begins_one_export() -> Result<()> {
    let Club { server, client } = club(None).await?;
    let (club, spec) = (&server.club, spec(&client.video));
    let many = join_all((0..8).map(|_| club.start_once(&spec, "one"))).await;
    let ids = many.into_iter().map(|export| Ok(export?.id)).collect::<Result<Vec<_>>>()?;
    assert!(ids.iter().all(|id| *id == ids[0]), "several exports began: {ids:?}");
    let list: Value = club.get("/exports").await?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "the one and the one before");

    let mut other = spec.clone();
    other["upscale"] = json!({"mode": "lanczos"});
    let reused = (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused".to_owned());
    assert_eq!(refusal(club.start_once(&other, "one").await)?, reused);
    assert_ne!(club.start_once(&spec, "two").await?.id, ids[0]);
    let long = "k".repeat(256);
    assert_eq!(refusal(club.start_once(&spec, &long).await)?.0, StatusCode::BAD_REQUEST);

    // The answer stays when what it asked for has gone.
    assert_eq!(server.completed(&ids[0]).await?.attempt, 1);
    let answer = club.request(Method::DELETE, &format!("/videos/{}?force=true", client.video)).send().await?;
    ensure!(answer.status().is_success(), "deleting the video: {}", answer.status());
    assert_eq!(club.start_once(&spec, "one").await?.state, "complete");
    Ok(())
}

#[tokio::test]
async fn a_key_and_a_retry_are_the_tenants_own() -> Result<()> {
    let Club { server, client } = club(None).await?;
    let export = server.club.start_once(&spec(&client.video), "one").await?;
    let Account { email, password, .. } = server.account("rival", "spy@rival.example", "editor")?;
    let spy = Client::log_in(&server.url()?, &email, &password).await?;
    // The rival's own request under the same key: about a video it does not have, not about the club's export.
    assert_eq!(refusal(spy.start_once(&spec(&client.video), "one").await)?.1, "invalid_spec");
    let retried: Result<Export> = spy.post(&format!("/exports/{}/retry", export.id), &Value::Null).await;
    assert_eq!(refusal(retried)?.0, StatusCode::NOT_FOUND);
    server.completed(&export.id).await?;
    let retried = retry(&server, &export.id).await;
    assert_eq!(refusal(retried)?, (StatusCode::CONFLICT, "not_retryable".to_owned()));
    Ok(())
}

#[tokio::test]
async fn a_source_that_is_gone_is_named_and_a_retry_goes_on_when_it_is_back() -> Result<()> {
    let Club { server, client } = club(None).await?;
    let media = server.data_dir().join("media");
    let key = server.rows().await?.files().await?.into_iter().find(|key| key.contains(&client.video));
    let source = media.join(key.context("the video has a file")?);
    fs::rename(&source, server.data_dir().join("away"))?;
    let export = server.club.start(&spec(&client.video)).await?;
    let failed = server.ended(&export.id).await?;
    assert_eq!((failed.state.as_str(), code(&failed)), ("failed", Some("source_unreadable")));
    fs::rename(server.data_dir().join("away"), &source)?;
    assert_eq!(retry(&server, &export.id).await?.attempt, 2);
    server.completed(&export.id).await?;
    assert_eq!(server.result(&export.id).await?, client.expected);
    assert_eq!(server.orphans().await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn lost_storage_is_named_and_a_retry_goes_on_when_it_is_back() -> Result<()> {
    let Club { server, client } = club(None).await?;
    let (media, away) = (server.data_dir().join("media"), server.data_dir().join("away"));
    fs::rename(&media, &away)?;
    fs::create_dir(&media)?;
    let export = server.club.start(&spec(&client.video)).await?;
    let failed = server.ended(&export.id).await?;
    assert_eq!((failed.state.as_str(), code(&failed)), ("failed", Some("storage_lost")));
    assert_eq!(fs::read_dir(&media)?.count(), 0, "something was written into the mount point");
    fs::remove_dir(&media)?;
    fs::rename(&away, &media)?;
    retry(&server, &export.id).await?;
    server.completed(&export.id).await?;
    assert_eq!(server.result(&export.id).await?, client.expected);
    Ok(())
}

#[tokio::test]
async fn a_segment_that_always_fails_ends_its_export_and_the_finished_ones_are_kept() -> Result<()> {
    // The first two segments that are begun go well; whatever else is tried fails.
    let Club { mut server, client } = club(Some("segment-begun=2*off->return(broken)")).await?;
    let export = server.club.start(&spec(&client.video)).await?;
    let failed = server.ended(&export.id).await?;
    assert_eq!((failed.state.as_str(), code(&failed)), ("failed", Some("render_failed")));
    let detail = failed.problem.context("a problem")?["detail"].as_str().unwrap_or_default().to_owned();
    ensure!(
        detail.contains("segment ") && detail.contains("output frames") && detail.contains("on purpose"),
        "{detail}"
    );
    let finished = server.rows().await?.segments(&export.id).await?;
    let pictures = finished.iter().filter(|segment| segment.kind == "video").count();
    assert_eq!(pictures, 2, "{finished:?}");

    server.restart(None).await?;
    retry(&server, &export.id).await?;
    server.completed(&export.id).await?;
    assert_eq!(server.result(&export.id).await?, client.expected);
    let all = server.rows().await?.segments(&export.id).await?;
    assert!(finished.iter().all(|segment| all.contains(segment)), "a finished segment was made again");
    Ok(())
}

#[tokio::test]
async fn what_is_past_its_time_goes() -> Result<()> {
    let mut variables = variables().to_vec();
    variables.push(("TOUCHLINE__RETENTION__EXPORTS_DAYS", "30"));
    let (mut server, client) = prepared(&variables).await?;
    server.restart(Some("segment-begun=2*off->return(broken)")).await?;
    let failed = server.club.start(&spec(&client.video)).await?.id;
    server.ended(&failed).await?;
    server.stop()?;
    let rows = Rows::open_to_change(&server.database_url()?).await?;
    rows.end_exports_at("complete", "2000-01-01T00:00:00Z".parse()?).await?;
    rows.end_exports_at("failed", Utc::now() - TimeDelta::days(2)).await?;
    drop(rows);

    server.restart(None).await?;
    let gone = async || {
        let answer = server.club.request(Method::GET, &format!("/exports/{}", client.complete)).send().await?;
        Ok::<_, anyhow::Error>(answer.status() == StatusCode::NOT_FOUND)
    };
    for _ in 0..500 {
        if gone().await? && server.rows().await?.segments(&failed).await?.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    ensure!(gone().await?, "a complete export outlives its retention");
    assert_eq!(server.rows().await?.segments(&failed).await?, [], "a failed export keeps its segments for ever");
    assert_eq!(server.orphans().await?, Vec::<String>::new());
    retry(&server, &failed).await?;
    server.completed(&failed).await?;
    assert_eq!(server.result(&failed).await?, client.expected);
    Ok(())
}

#[tokio::test]
async fn a_video_that_is_deleted_while_it_is_rendered_leaves_nothing() -> Result<()> {
    let mut variables = variables().to_vec();
    variables.push(("TOUCHLINE__DEVICES__SIM_FRAME_MS", "40"));
    let (mut server, client) = prepared(&variables).await?;
    server.restart(None).await?;
    let export = server.club.start(&spec(&client.video)).await?.id;
    while server.club.export(&export).await?.state != "rendering" {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let path = format!("/videos/{}", client.video);
    assert_eq!(server.club.request(Method::DELETE, &path).send().await?.status(), StatusCode::CONFLICT);
    let forced = server.club.request(Method::DELETE, &format!("{path}?force=true")).send().await?.status();
    assert_eq!(forced, StatusCode::NO_CONTENT);
    assert_eq!(server.ended(&export).await?.state, "cancelled");
    assert_eq!(server.orphans().await?, Vec::<String>::new());
    Ok(())
}
