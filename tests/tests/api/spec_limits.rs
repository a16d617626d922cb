//! How large a spec may be, and where it is shown.

use anyhow::{Context, Result};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use touchline_tests::client::{Refusal, answered};
use touchline_tests::footage;
use touchline_tests::scenarios::crowd::{self, Club};
use touchline_tests::shared_server::{shared_operator, shared_server, unique};

const MIB: usize = 1 << 20;

async fn club() -> Result<Club> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    footage::stamped(&file, "10", 2, None, &["-c:v", "libx264"])?;
    crowd::club(shared_server().await?, &unique("club"), &file).await
}

/// Status and code of a refusal, with the pointer and code of its first mistake.
fn refusal<T>(result: Result<T>) -> Result<(StatusCode, String, String, String)> {
    let error = result.err().context("it was not refused")?;
    let Refusal { status, problem, .. } = error.downcast::<Refusal>()?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let first = &problem["errors"][0];
    Ok((status, text(&problem["code"]), text(&first["pointer"]), text(&first["code"])))
}

fn invalid(code: &str, pointer: &str, mistake: &str) -> (StatusCode, String, String, String) {
    (StatusCode::UNPROCESSABLE_ENTITY, code.to_owned(), pointer.to_owned(), mistake.to_owned())
}

/// Clips with 2 000 keyframes each, the most that one may have.
fn clips(video: &str, count: usize) -> Value {
    let keyframe = |i: u32| json!({"time": f64::from(i) / 2000.0, "x": 0, "y": 0, "width": 45, "height": 80});
    let crop: Vec<Value> = (0..2000).map(keyframe).collect();
    json!(vec![json!({"video_id": video, "start": 0, "end": 1, "crop": crop}); count])
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_keyframes_are_accepted_and_more_are_refused() -> Result<()> {
    let Club { client, video, .. } = club().await?;
    let framing = |count: usize| {
        json!({"kind": "framing", "clips": clips(&video, count), "output": {"width": 90, "height": 160, "fps": 5},
            "upscale": {"mode": "lanczos"}, "detect": {"rule": "none"}})
    };
    let too_many = invalid("invalid_spec", "/clips", "too_many");
    for path in ["/exports", "/exports/estimate"] {
        assert_eq!(refusal(client.post::<Value>(path, &framing(6)).await)?, too_many, "{path}");
    }
    client.post::<Value>("/exports/estimate", &framing(5)).await?;
    let reel = |count: usize| json!({"name": "Sunday", "framing": {"clips": clips(&video, count)}});
    let too_many = invalid("invalid_reel", "/framing/clips", "too_many");
    assert_eq!(refusal(client.post::<Value>("/reels", &reel(6)).await)?, too_many);

    // A reel of the most, overridden by a request of more.
    let kept: Value = client.post("/reels", &reel(5)).await?;
    let export = json!({"reel_id": kept["id"], "clips": clips(&video, 6)});
    let too_many = invalid("invalid_spec", "/clips", "too_many");
    assert_eq!(refusal(client.post::<Value>("/exports", &export).await)?, too_many);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_of_more_than_a_mebibyte_is_refused_also_by_what_it_copies() -> Result<()> {
    let Club { client, video, .. } = club().await?;
    let padded = json!({"kind": "clip", "video_id": video, "start": 0, "end": 1, "padding": "x".repeat(MIB)});
    for path in ["/exports", "/exports/estimate"] {
        let (status, code, ..) = refusal(client.post::<Value>(path, &padded).await)?;
        assert_eq!((status, code.as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "too_large"), "{path}");
    }
    let reel = json!({"name": "", "overlay": {"padding": "x".repeat(MIB)}});
    let refused = refusal(client.post::<Value>("/reels", &reel).await)?;
    assert_eq!(refused, invalid("invalid_reel", "/overlay", "too_large"));

    let notes = json!({"name": "Goal", "start": 0, "end": 1, "notes": "x".repeat(10_000)});
    let clip: Value = client.post(&format!("/videos/{video}/clips"), &notes).await?;
    let compilation = |clips: usize| json!({"kind": "annotated", "clips": vec![json!({"clip_id": clip["id"]}); clips]});
    client.post::<Value>("/exports/estimate", &compilation(90)).await?;
    let refused = refusal(client.post::<Value>("/exports/estimate", &compilation(110)).await)?;
    assert_eq!(refused, invalid("invalid_spec", "", "too_large"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_its_spec_and_lists_leave_it_out() -> Result<()> {
    let Club { client, video, tenant } = club().await?;
    let spec = json!({"kind": "clip", "video_id": video, "start": 0, "end": 1});
    let made: Value = client.post("/exports", &spec).await?;
    assert_eq!((&made["spec"]["kind"], &made["spec"]["video_id"]), (&json!("clip"), &json!(video)));
    let path = format!("/exports/{}", made["id"].as_str().context("an id")?);
    let read: Value = client.get(&path).await?;
    assert_eq!(read["spec"], made["spec"]);
    let operator = shared_operator().await?;
    let read: Value = operator.get(&format!("/admin{path}")).await?;
    assert_eq!(read["spec"], made["spec"]);
    let lists = [client.get("/exports").await?, operator.get(&format!("/admin/exports?tenant_id={tenant}")).await?];
    for list in lists {
        let list: Value = list;
        assert_eq!(list["items"][0]["id"], made["id"]);
        assert_eq!(list["items"][0].get("spec"), None, "{list}");
    }
    // Cancelling one that has ended already is refused; otherwise the answer has the spec, too.
    let cancel = client.request(Method::POST, &format!("{path}/cancel")).send().await?;
    if let Ok(answer) = answered(cancel).await {
        assert_eq!(answer.json::<Value>().await?["spec"], made["spec"]);
    }
    Ok(())
}
