//! What a tenant may ask for, and what it used: each sees and pays its own.

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchline_tests::client::{Client, Refusal, answered};
use touchline_tests::scenarios::crowd::{self, Club};
use touchline_tests::shared_server::{shared_operator, shared_server, unique};

/// The refusal a call must end in.
fn refusal<T>(result: Result<T>) -> Result<Refusal> {
    match result {
        Ok(_) => anyhow::bail!("the call was not refused"),
        Err(error) => error.downcast::<Refusal>(),
    }
}

async fn patch(client: &Client, tenant: &str, body: Value) -> Result<Value> {
    let request = client.request(Method::PATCH, &format!("/admin/tenants/{tenant}")).json(&body);
    Ok(answered(request.send().await?).await?.json().await?)
}

async fn detect(club: &Club, frame: u32) -> Result<Value> {
    let request = club.client.request(Method::POST, &format!("/videos/{}/detections/frame", club.video));
    Ok(answered(request.json(&json!({"frame": frame})).send().await?).await?.json().await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_named_and_each_tenants_own() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    crowd::footage(&file, 2)?;
    let (server, operator) = crowd::server(1, 400.0).await?;
    let (small, other) = (crowd::club(&server, "small", &file).await?, crowd::club(&server, "other", &file).await?);

    let changed =
        patch(&operator, &small.tenant, json!({"limits": {"queued_exports": 2, "interactive_frames": 1}})).await?;
    assert_eq!(changed["limits"]["queued_exports"], 2);
    for _ in 0..2 {
        small.start(2).await?;
    }
    let request = small.client.request(Method::POST, "/exports");
    let spec = json!({"kind": "detection", "video_id": small.video, "times": [0.5]});
    let answer = request.json(&spec).send().await?;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = answer.headers().get("retry-after").context("no Retry-After")?.to_str()?.parse()?;
    assert!((1..=3600).contains(&wait), "{wait}");
    let problem: Value = answer.json().await?;
    assert_eq!((&problem["code"], &problem["limit"]), (&json!("limit_reached"), &json!("queued_exports")));
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("2 exports")), "{problem}");
    other.start(2).await.context("another tenant's limit is its own")?;

    // One call at a time is allowed: of several at once the others are refused, and the answer names the limit.
    let calls = join_all((0..4).map(|frame| detect(&small, frame))).await;
    assert!(calls.iter().any(Result::is_ok), "the first is let in");
    let refused: Vec<_> = calls.into_iter().filter(Result::is_err).map(refusal).collect::<Result<_>>()?;
    ensure!(!refused.is_empty(), "none was refused");
    for Refusal { status, problem } in refused {
        assert_eq!((status, &problem["limit"]), (StatusCode::TOO_MANY_REQUESTS, &json!("interactive_frames")));
    }

    // Null takes the limit away again.
    let changed = patch(&operator, &small.tenant, json!({"limits": {"queued_exports": null}})).await?;
    assert_eq!(
        (&changed["limits"]["queued_exports"], &changed["limits"]["interactive_frames"]),
        (&Value::Null, &json!(1))
    );
    small.start(2).await?;

    // A bound of the whole deployment, changed while it runs: what waits fills it.
    let bound = operator.request(Method::PATCH, "/admin/config").header("If-Match", "*");
    answered(bound.json(&json!({"limits": {"queued_exports_of_all": 3}})).send().await?).await?;
    let full = refusal(other.start(2).await)?;
    assert_eq!((full.status, &full.problem["limit"]), (StatusCode::TOO_MANY_REQUESTS, &json!("queued_exports_of_all")));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_operator_changes_tenants_and_changes_are_checked() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    crowd::footage(&file, 1)?;
    let operator = shared_operator().await?;
    let club = crowd::club(shared_server().await?, &unique("club"), &file).await?;
    let weight = json!({"weight": 2.0});
    assert_eq!(refusal(patch(&club.client, &club.tenant, weight.clone()).await)?.status, StatusCode::FORBIDDEN);
    let unknown = "01890000-0000-7000-8000-000000000000";
    assert_eq!(refusal(patch(&operator, unknown, weight.clone()).await)?.status, StatusCode::NOT_FOUND);
    for wrong in [json!({"weight": 0.0}), json!({"limits": {"queued_exports": 0}}), json!({"name": " "})] {
        let refused = refusal(patch(&operator, &club.tenant, wrong.clone()).await)?;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    patch(&operator, &club.tenant, weight).await?;
    let tenant: Value = operator.get(&format!("/admin/tenants/{}", club.tenant)).await?;
    assert_eq!((&tenant["weight"], &tenant["limits"]["queued_exports"]), (&json!(2.0), &Value::Null));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_show_usage_beside_the_estimate() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    crowd::footage(&file, 3)?;
    let (server, operator) = crowd::server(2, 20.0).await?;
    let (club, idle) = (crowd::club(&server, "club", &file).await?, crowd::club(&server, "idle", &file).await?);
    let export = club.start(3).await?;
    let (_, row) = club.finished(&export).await?;
    detect(&club, 1).await?;

    let frames = f64::from(3 * crowd::FPS);
    assert!((row["estimate"]["device_seconds"].as_f64().context("an estimate")? - frames * 0.02).abs() < 1e-9);
    assert!(row["estimate"]["seconds"].as_f64() > Some(0.0) && row["estimate"]["cost"].as_f64() > Some(0.0));
    let usage: Value = club.client.get("/usage").await?;
    let lines = usage["exports"].as_array().context("lines")?;
    assert_eq!((lines.len(), &lines[0]["export_id"], &lines[1]["export_id"]), (2, &json!(export), &Value::Null));
    assert_eq!(
        (&lines[0]["frames"], &lines[0]["frames_inferred"], &lines[0]["entries"]),
        (&json!(30), &json!(30), &json!(3))
    );
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    assert!((number(&lines[0]["device_seconds"]) - number(&row["device_seconds"])).abs() < 1e-9);
    assert!((number(&lines[0]["cost"]) - number(&row["cost"])).abs() < 1e-9);
    let by_device: f64 =
        usage["devices"].as_array().context("devices")?.iter().map(|line| number(&line["device_seconds"])).sum();
    assert!((by_device - number(&usage["total"]["device_seconds"])).abs() < 1e-9);

    // Deletion removes the export, not its account; no other tenant sees it, and only an operator sees those of all tenants.
    answered(club.client.request(Method::DELETE, &format!("/exports/{export}")).send().await?).await?;
    let after: Value = club.client.get("/usage").await?;
    assert_eq!(after["total"], usage["total"]);
    let others: Value = idle.client.get("/usage").await?;
    assert_eq!((&others["total"]["entries"], &others["exports"]), (&json!(0), &json!([])));
    let refused = refusal(club.client.get::<Value>("/admin/usage").await)?;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let all: Value = operator.get("/admin/usage").await?;
    assert_eq!((all["items"].as_array().map(Vec::len), &all["items"][0]["tenant_id"]), (Some(1), &json!(club.tenant)));
    let backwards = "/usage?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z";
    assert_eq!(refusal(club.client.get::<Value>(backwards).await)?.status, StatusCode::BAD_REQUEST);
    Ok(())
}
