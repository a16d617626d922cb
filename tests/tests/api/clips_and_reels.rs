//! What people work on between an upload and an export: clips, reels and pictures of the video.

use anyhow::{Context, Result};
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use touchline_tests::client::{Client, Refusal, answered};
use touchline_tests::footage;
use touchline_tests::scenarios::crowd::{self, Club};
use touchline_tests::shared_server::{shared_server, unique};

fn refusal<T>(result: Result<T>) -> Result<Refusal> {
    match result {
        Ok(_) => anyhow::bail!("the call was not refused"),
        Err(error) => error.downcast::<Refusal>(),
    }
}

/// The pointers of a refusal's mistakes, with their codes.
fn mistakes(refusal: &Refusal) -> Vec<(String, String)> {
    let errors = refusal.problem["errors"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> = errors.map(|error| (text(&error["pointer"]), text(&error["code"]))).collect();
    all.sort();
    all
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(pointer, code)| ((*pointer).to_owned(), (*code).to_owned())).collect()
}

fn id(value: &Value) -> Result<String> {
    Ok(value["id"].as_str().context("no id")?.to_owned())
}

async fn patch(client: &Client, path: &str, seen: Option<&str>, body: Value) -> Result<Response> {
    let request = client.request(Method::PATCH, path).json(&body);
    let request = seen.into_iter().fold(request, |request, seen| request.header("If-Match", seen));
    answered(request.send().await?).await
}

fn etag(answer: &Response) -> Result<String> {
    Ok(answer.headers().get("etag").context("no ETag")?.to_str()?.to_owned())
}

async fn two_clubs(seconds: u32) -> Result<(Club, Club)> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    crowd::footage(&file, seconds)?;
    let server = shared_server().await?;
    let club = crowd::club(server, &unique("club"), &file).await?;
    Ok((club, crowd::club(server, &unique("rival"), &file).await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn clips_are_marked_changed_and_exported_by_their_id() -> Result<()> {
    let (club, rival) = two_clubs(6).await?;
    let path = format!("/videos/{}/clips", club.video);
    let goal = json!({"name": "Goal", "start": 1.0, "end": 3.0, "notes": "left foot", "rating": 5, "tags": ["goal"]});
    let request = club.client.request(Method::POST, &path).json(&goal);
    let made = answered(request.send().await?).await?;
    assert_eq!(made.status(), StatusCode::CREATED);
    let (seen, location) = (etag(&made)?, made.headers().get("location").context("Location")?.to_str()?.to_owned());
    let clip: Value = made.json().await?;
    let clip_path = format!("/clips/{}", id(&clip)?);
    assert_eq!(location, format!("/api/v1{clip_path}"));
    assert_eq!((&clip["rating"], &clip["tags"], &clip["version"]), (&json!(5), &json!(["goal"]), &json!(1)));
    let later: Value = club.client.post(&path, &json!({"start": 4, "end": 6})).await?;

    // Every mistake at once, and nothing stored.
    let wrong = json!({"name": "x".repeat(201), "start": 5.0, "end": 9.0, "rating": 6, "tags": [""]});
    let refused = refusal(club.client.post::<Value>(&path, &wrong).await)?;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let expected =
        [("/end", "outside_video"), ("/name", "too_long"), ("/rating", "out_of_range"), ("/tags/0", "length")];
    assert_eq!(mistakes(&refused), pairs(&expected));
    let list: Value = club.client.get(&format!("{path}?limit=1")).await?;
    assert_eq!(list["items"][0]["id"], later["id"]);
    let next = list["next_cursor"].as_str().context("a cursor")?;
    let list: Value = club.client.get(&format!("{path}?limit=1&cursor={next}")).await?;
    assert_eq!((&list["items"][0]["id"], &list["next_cursor"]), (&clip["id"], &Value::Null));

    // Who saw an older version changes nothing.
    let changed = patch(&club.client, &clip_path, Some(&seen), json!({"end": 2.0, "rating": null})).await?;
    assert_ne!(etag(&changed)?, seen);
    let changed: Value = changed.json().await?;
    assert_eq!((&changed["end"], &changed["rating"], &changed["name"]), (&json!(2.0), &Value::Null, &json!("Goal")));
    let stale = refusal(patch(&club.client, &clip_path, Some(&seen), json!({"name": "Mine"})).await)?;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    let known = club.client.request(Method::GET, &clip_path).header("If-None-Match", "\"v2\"").send().await?;
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);

    // An export takes what it does not say from the clip.
    let framing = json!({"kind": "framing", "clips": [{"clip_id": clip["id"]}, {"clip_id": later["id"], "end": 5.0}],
        "output": {"width": 270, "height": 480, "fps": 10}, "upscale": {"mode": "lanczos"}, "detect": {"rule": "none"}});
    let export = club.client.render(&framing, |_| {}).await?;
    assert_eq!(export.frames_total, 20);
    let row: Value = club.client.get(&format!("/exports/{}", export.id)).await?;
    let first = &row["spec"]["clips"][0];
    assert_eq!((&first["name"], &first["start"], &first["clip_id"]), (&json!("Goal"), &json!(1.0), &clip["id"]));
    let annotated = json!({"kind": "annotated", "clips": [{"clip_id": clip["id"]}]});
    club.client.render(&annotated, |_| {}).await?;
    let cut = club.client.render(&json!({"kind": "clip", "clip_id": clip["id"], "mode": "encode"}), |_| {}).await?;
    assert_eq!(cut.frames_total, 10);

    // A clip of another tenant is not found: not to read, not to change, not to export.
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let answer = rival.client.request(method.clone(), &clip_path).json(&json!({})).send().await?;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{method}");
    }
    assert_eq!(rival.client.request(Method::GET, &path).send().await?.status(), StatusCode::NOT_FOUND);
    assert_eq!(rival.client.request(Method::POST, &path).json(&goal).send().await?.status(), StatusCode::NOT_FOUND);
    let mut theirs = framing.clone();
    theirs["clips"][1] = json!({"video_id": rival.video, "start": 0, "end": 99});
    let refused = refusal(rival.client.start(&theirs).await)?;
    assert_eq!(mistakes(&refused), pairs(&[("/clips/0/clip_id", "unknown_clip"), ("/clips/1/end", "outside_video")]));

    answered(club.client.request(Method::DELETE, &clip_path).send().await?).await?;
    assert_eq!(refusal(club.client.get::<Value>(&clip_path).await)?.status, StatusCode::NOT_FOUND);
    assert_eq!(club.client.export(&export.id).await?.state, "complete", "an export outlives its clip");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reels_keep_their_edits_and_are_exported_at_their_version() -> Result<()> {
    let (club, rival) = two_clubs(4).await?;
    let clip: Value = club
        .client
        .post(&format!("/videos/{}/clips", club.video), &json!({"name": "Run", "start": 0, "end": 2}))
        .await?;
    let output = json!({"width": 270, "height": 480, "fps": 10});
    let framing = json!({"clips": [{"clip_id": clip["id"]}], "output": output, "upscale": {"mode": "lanczos"},
        "detect": {"rule": "none"}});
    let request = club.client.request(Method::POST, "/reels").json(&json!({"name": "Sunday", "framing": framing}));
    let made = answered(request.send().await?).await?;
    let first_seen = etag(&made)?;
    let reel: Value = made.json().await?;
    let path = format!("/reels/{}", id(&reel)?);
    assert_eq!(reel["framing"], framing, "edits are kept as they came");

    // Mistakes are placed in the reel.
    let wrong = json!({"framing": {"clips": [{"clip_id": "01890000-0000-7000-8000-000000000000", "rotation": 90}]},
        "overlay": {"kind": "overlay", "regions": [{"start": 2, "end": 1}], "sparkle": true}});
    let refused = refusal(club.client.post::<Value>("/reels", &wrong).await)?;
    let found = mistakes(&refused);
    for expected in [
        ("/framing/clips/0/clip_id", "unknown_clip"),
        ("/framing/clips/0/rotation", "out_of_range"),
        ("/overlay/kind", "not_allowed"),
        ("/overlay/sparkle", "unknown_field"),
    ] {
        assert!(found.contains(&pairs(&[expected])[0]), "{expected:?} in {found:?}");
    }

    let unconditional = refusal(patch(&club.client, &path, None, json!({"name": "x"})).await)?;
    assert_eq!(unconditional.status, StatusCode::PRECONDITION_REQUIRED);
    let ring = |time: f64| json!({"time": time, "x": 100, "y": 200, "radius_x": 40, "radius_y": 30});
    let overlay = json!({"regions": [{"start": 0.5, "end": 1.5, "keyframes": [ring(0.5), ring(1.5)]}]});
    let changed = patch(&club.client, &path, Some(&first_seen), json!({"overlay": overlay})).await?;
    let changed: Value = changed.json().await?;
    assert_eq!((&changed["version"], &changed["framing"]), (&json!(2), &framing));
    let stale = refusal(patch(&club.client, &path, Some(&first_seen), json!({"framing": null})).await)?;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);

    // The reel's edits are copied in, what the request says is laid over them, and the version is kept.
    let export = club.client.render(&json!({"reel_id": reel["id"]}), |_| {}).await?;
    assert_eq!(export.frames_total, 20);
    let row: Value = club.client.get(&format!("/exports/{}", export.id)).await?;
    assert_eq!((&row["reel_id"], &row["reel_version"], &row["kind"]), (&reel["id"], &json!(2), &json!("framing")));
    let quick = json!({"reel_id": reel["id"], "output": {"width": 270, "height": 480, "fps": 5}});
    assert_eq!(club.client.render(&quick, |_| {}).await?.frames_total, 10);
    let drawn = json!({"reel_id": reel["id"], "kind": "overlay", "source": {"export_id": export.id}});
    assert_eq!(club.client.render(&drawn, |_| {}).await?.frames_total, 20);
    let estimate: Value = club.client.post("/exports/estimate", &json!({"reel_id": reel["id"]})).await?;
    assert_eq!(estimate["frames"], 20);

    // What a reel cannot do is refused with the reason, and a reel of another tenant is not found.
    let nameless: Value = club.client.post("/reels", &json!({})).await?;
    for (client, body, code) in [
        (&club.client, json!({"reel_id": nameless["id"]}), "no_edits"),
        (&club.client, json!({"reel_id": reel["id"], "kind": "clip"}), "not_allowed"),
        (&rival.client, json!({"reel_id": reel["id"]}), "unknown_reel"),
        (&club.client, json!({"reel_id": 7}), "wrong_type"),
    ] {
        let refused = refusal(client.start(&body).await)?;
        assert_eq!(mistakes(&refused), pairs(&[("/reel_id", code)]), "{body}");
    }
    for method in [Method::GET, Method::PATCH, Method::DELETE] {
        let request = rival.client.request(method.clone(), &path).header("If-Match", "*").json(&json!({}));
        assert_eq!(request.send().await?.status(), StatusCode::NOT_FOUND, "{method}");
    }
    let theirs: Value = rival.client.get("/reels").await?;
    assert_eq!(theirs["items"], json!([]));
    // A clip of another tenant cannot be used through a reel either.
    let refused = refusal(rival.client.post::<Value>("/reels", &json!({"framing": framing})).await)?;
    assert_eq!(mistakes(&refused), pairs(&[("/framing/clips/0/clip_id", "unknown_clip")]));

    answered(club.client.request(Method::DELETE, &path).send().await?).await?;
    assert_eq!(refusal(club.client.get::<Value>(&path).await)?.status, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thumbnail_shows_the_frame_of_its_time() -> Result<()> {
    let (club, rival) = two_clubs(10).await?;
    let path = format!("/videos/{}/thumbnail", club.video);
    let folder = tempfile::tempdir()?;
    // Ten frames a second; without a time, a tenth into the video.
    for (query, width, frame) in
        [("?time=3.25&width=640", 640, 32), ("?width=320", 320, 10), ("?time=0&width=1900", 640, 0)]
    {
        let answer = answered(club.client.request(Method::GET, &format!("{path}{query}")).send().await?).await?;
        assert_eq!(answer.headers().get("content-type").context("type")?, "image/jpeg");
        let tag = etag(&answer)?;
        let file = folder.path().join("thumbnail.jpg");
        std::fs::write(&file, answer.bytes().await?)?;
        assert_eq!(footage::stamps(&file)?, [frame], "{query}");
        assert_eq!(footage::size(&file)?.0, width, "{query}");
        let known = club.client.request(Method::GET, &format!("{path}{query}")).header("If-None-Match", tag);
        assert_eq!(known.send().await?.status(), StatusCode::NOT_MODIFIED);
    }
    for wrong in ["?time=99", "?time=-1", "?time=NaN", "?width=5", "?width=9999"] {
        let refused = refusal(club.client.get::<Value>(&format!("{path}{wrong}")).await)?;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    assert_eq!(refusal(rival.client.get::<Value>(&path).await)?.status, StatusCode::NOT_FOUND);
    Ok(())
}
