//! What a tenant may ask for, and what it used: each sees and pays its own.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::{join_all, try_join_all};
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

/// Changes a tenant as an operator; the tenant as it is then.
pub async fn patch(client: &Client, tenant: &str, body: Value) -> Result<Value> {
    let request = client.request(Method::PATCH, &format!("/admin/tenants/{tenant}")).json(&body);
    Ok(answered(request.send().await?).await?.json().await?)
}

async fn detect(club: &Club, frame: u32) -> Result<Value> {
    Ok(club.detect(frame).await?.json().await?)
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
    assert!(row["estimate"]["wall_seconds"].as_f64() > Some(0.0) && row["estimate"]["cost"].as_f64() > Some(0.0));
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

#[tokio::test(flavor = "multi_thread")]
async fn lookups_of_one_tenant_do_not_stop_anothers_exports() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    crowd::footage(&file, 2)?;
    let (server, _) = crowd::server(1, 40.0).await?;
    let (clicks, renders) =
        (crowd::club(&server, "clicks", &file).await?, crowd::club(&server, "renders", &file).await?);
    let looking = try_join_all((0..8).map(|frame| look_for_ever(&clicks, frame)));
    let rendering = async {
        let export = renders.start(2).await?;
        renders.finished(&export).await
    };
    tokio::select! {
        looked = looking => looked.map(drop).context("a lookup failed"),
        rendered = tokio::time::timeout(PATIENCE, rendering) => {
            rendered.context("the export does not end while another tenant looks at frames")?.map(drop)
        }
    }
}

/// One lookup after the other, until one fails.
async fn look_for_ever(club: &Club, frame: u32) -> Result<Infallible> {
    loop {
        detect(club, frame).await?;
    }
}

/// How long what must happen at all may take.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_that_was_given_up_counts_until_its_device_is_done() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    crowd::footage(&file, 1)?;
    let (server, operator) = crowd::server(1, 6000.0).await?;
    let club = crowd::club(&server, "club", &file).await?;
    patch(&operator, &club.tenant, json!({"limits": {"interactive_frames": 1}})).await?;
    // Given up after a while in which the device has begun with it: nothing else waits.
    assert!(tokio::time::timeout(Duration::from_secs(3), detect(&club, 0)).await.is_err(), "the device is slow");
    let refused = refusal(detect(&club, 1).await)?;
    assert_eq!(refused.problem["limit"], "interactive_frames");
    let again = async {
        while detect(&club, 1).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.context("the permit does not return")
}

#[tokio::test(flavor = "multi_thread")]
async fn open_uploads_and_results_count_towards_the_storage() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    crowd::footage(&file, 2)?;
    let bytes = std::fs::read(&file)?;
    let length = bytes.len() as u64;
    let operator = shared_operator().await?;
    let club = crowd::club(shared_server().await?, &unique("club"), &file).await?;
    let allow = async |bytes: Value| patch(&operator, &club.tenant, json!({"limits": {"storage_bytes": bytes}})).await;
    let full = |refused: Refusal| {
        assert_eq!((refused.status, &refused.problem["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("storage_full")));
    };

    // Room for one more file: of several uploads that are begun at once, one is.
    allow(json!(2 * length)).await?;
    let begun = join_all((0..4).map(|_| club.client.create_upload(length, "b.mp4"))).await;
    let (open, refused): (Vec<_>, Vec<_>) = begun.into_iter().partition(Result::is_ok);
    assert_eq!(open.len(), 1, "{refused:?}");
    refused.into_iter().map(refusal).collect::<Result<Vec<_>>>()?.into_iter().for_each(full);
    let open = open.into_iter().next().context("one is open")??;
    // Given up, its bytes are free at once.
    let end = club.client.request(Method::DELETE, &open).header("Tus-Resumable", "1.0.0");
    answered(end.send().await?).await?;
    let open = club.client.create_upload(length, "b.mp4").await?;

    // The limit is lowered before the last piece comes: the upload becomes no video, and can go on when there is room.
    allow(json!(2 * length - 1)).await?;
    full(refusal(club.client.send_piece(&open, 0, bytes.clone()).await)?);
    assert_eq!(club.client.upload_offset(&open).await?, 0);
    allow(json!(2 * length)).await?;
    assert_eq!(club.client.send_piece(&open, 0, bytes).await?, length);

    // A result that does not fit ends its export; with room, a retry publishes it.
    let clip = json!({"kind": "clip", "video_id": club.video, "start": 0, "end": 1});
    let export = club.client.start(&clip).await?.id;
    assert_eq!(club.client.watch(&export, |_| {}).await?.state, "failed");
    let row = club.client.export(&export).await?;
    assert_eq!(row.problem.context("no problem")?["code"], "storage_full");
    allow(Value::Null).await?;
    let retry = club.client.request(Method::POST, &format!("/exports/{export}/retry"));
    answered(retry.send().await?).await?;
    club.finished(&export).await?;
    let result: Value = club.client.get(&format!("/exports/{export}")).await?;
    let stored = 2 * length + result["result_bytes"].as_u64().context("the result has a size")?;

    // The result counts, and is free when it is deleted.
    allow(json!(stored + length - 1)).await?;
    full(refusal(club.client.create_upload(length, "c.mp4").await)?);
    answered(club.client.request(Method::DELETE, &format!("/exports/{export}")).send().await?).await?;
    club.client.create_upload(length, "c.mp4").await?;
    Ok(())
}

/// A copied clip has no segment and no device, an overlay copies most of its frames: both say that all frames are done.
#[tokio::test(flavor = "multi_thread")]
async fn copied_frames_count_as_done() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    crowd::footage(&file, 3)?;
    let (server, _) = crowd::server(1, 1.0).await?;
    let club = crowd::club(&server, "club", &file).await?;
    let clip = json!({"kind": "clip", "video_id": club.video, "start": 0.0, "end": 2.0});
    let plain = json!({"kind": "overlay", "source": {"video_id": club.video}, "regions": []});
    for spec in [clip, plain] {
        let started = club.client.start(&spec).await?;
        let (_, row) = club.finished(&started.id).await?;
        assert!(row["frames_total"].as_u64() > Some(0), "{row}");
        assert_eq!(row["frames_done"], row["frames_total"], "{row}");
        for seconds in [&row["device_seconds"], &row["cost"], &row["report"]["device_seconds"]] {
            let seconds = seconds.as_f64().context("seconds")?;
            assert!(seconds == 0.0 && seconds.is_sign_positive(), "{row}");
        }
    }
    Ok(())
}

/// While an export runs, lists have its live figures, all of one moment, and the cost is that of the seconds.
#[tokio::test(flavor = "multi_thread")]
async fn lists_have_the_live_figures_of_running_exports() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    crowd::footage(&file, 4)?;
    let price = [("TOUCHLINE__PLANNER__PRICE_PER_DEVICE_SECOND", "0.5")];
    // One segment: nothing is committed before the end, so every figure but 0 is a live one.
    let one_segment = [("TOUCHLINE__SEGMENTS__SECONDS", "10.0")];
    let (server, operator) = crowd::server_with(1, 100.0, &[price, one_segment].concat()).await?;
    let club = crowd::club(&server, "club", &file).await?;
    let export = club.start(4).await?;
    let overlay = json!({"kind": "overlay", "source": {"export_id": export}, "regions": []});
    let refused = refusal(club.client.start(&overlay).await)?;
    let detail = refused.problem["errors"][0]["detail"].as_str().context("a detail")?;
    let states = ["queued", "preparing", "rendering"];
    assert!(states.iter().any(|state| detail.contains(&format!("is {state}: "))), "the API's word: {detail}");
    let mut seen = 0;
    loop {
        let (list, all): (Value, Value) = (club.client.get("/exports").await?, operator.get("/admin/exports").await?);
        if list["items"][0]["finished_at"] != Value::Null {
            break;
        }
        for row in [&list["items"][0], &all["items"][0]] {
            let number = |name: &str| row[name].as_f64().unwrap_or(f64::NAN);
            assert!((number("cost") - number("device_seconds") * 0.5).abs() < 1e-9, "{row}");
            let rendering = number("frames_done") > 0.0 && number("frames_done") < number("frames_total");
            if rendering && row["state"] == "rendering" {
                let share = number("frames_done") / number("frames_total");
                assert!((number("progress") - share * 0.97).abs() < 1e-9, "of the same moment: {row}");
                seen += 1;
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(seen > 0, "no list had a live figure");
    club.finished(&export).await?;
    Ok(())
}
