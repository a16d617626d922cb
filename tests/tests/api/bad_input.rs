//! What Touchline does with bad input: the status it says, and that nothing is left behind.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use touchline_tests::client::{Client, Refusal};
use touchline_tests::ffmpeg::ffmpeg;
use touchline_tests::files_below;
use touchline_tests::server::Server;
use touchline_tests::shared_server::{SECRET, UPLOAD_BYTES, shared_server, unique};

struct Fixture {
    server: &'static Server,
    folder: tempfile::TempDir,
    club: Client,
}

async fn fixture() -> Result<Fixture> {
    let (server, tenant) = (shared_server().await?, unique("club"));
    let account = server.account(&tenant, &format!("coach@{tenant}.example"), "editor")?;
    let club = Client::log_in(&server.url(), &account.email, &account.password).await?;
    Ok(Fixture { server, folder: tempfile::tempdir()?, club })
}

/// A server of the test's own, which keeps no other test's files, and an editor.
async fn server_without_files() -> Result<(Server, Client)> {
    let limit = UPLOAD_BYTES.to_string();
    let variables = [("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#), ("TOUCHLINE__LIMITS__UPLOAD_BYTES", &limit)];
    let server = Server::start(&variables).await?;
    let account = server.account("club", "coach@club.example", "editor")?;
    let club = Client::log_in(&server.url(), &account.email, &account.password).await?;
    Ok((server, club))
}

/// The refusal that `result` must be.
fn refusal<T: std::fmt::Debug>(result: Result<T>) -> Result<Refusal> {
    match result {
        Ok(value) => anyhow::bail!("{value:?} was accepted"),
        Err(error) => error.downcast::<Refusal>(),
    }
}

fn match_of(folder: &Path) -> Result<std::path::PathBuf> {
    let path = folder.join("match.mp4");
    let input = ["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30:duration=4", "-pix_fmt", "yuv420p"];
    ffmpeg(input.map(OsStr::new).into_iter().chain([path.as_os_str()]))?;
    Ok(path)
}

#[tokio::test]
async fn what_is_no_video_is_refused_and_leaves_nothing() -> Result<()> {
    let ((server, club), folder) = (server_without_files().await?, tempfile::tempdir()?);
    let folder = folder.path();
    let empty = folder.join("empty.mp4");
    std::fs::write(&empty, b"")?;
    let text = folder.join("notes.mp4");
    std::fs::write(&text, "kick-off at three\n".repeat(2000))?;
    let whole = match_of(folder)?;
    let truncated = folder.join("truncated.mp4");
    // The index of this MP4 is at its end: half of it cannot be read.
    let bytes = std::fs::read(&whole)?;
    std::fs::write(&truncated, &bytes[..bytes.len() / 2])?;
    let sound = folder.join("sound.m4a");
    let input = ["-f", "lavfi", "-i", "sine=duration=2", "-c:a", "aac"];
    ffmpeg(input.map(OsStr::new).into_iter().chain([sound.as_os_str()]))?;

    for file in [&empty, &text, &truncated, &sound] {
        let refused = refusal(club.upload(file, 1 << 20, |_, _| {}).await)?;
        ensure!(refused.status == StatusCode::UNPROCESSABLE_ENTITY, "{}: {refused}", file.display());
        let problem = &refused.problem;
        for field in ["type", "title", "status", "detail", "code"] {
            ensure!(!problem[field].is_null(), "{}: the problem has no {field}: {problem}", file.display());
        }
    }
    let page: Value = club.get("/videos").await?;
    assert_eq!(page["items"], json!([]));
    for place in ["media", "uploads", "work"] {
        let mut left = files_below(&server.data_dir().join(place))?;
        // The marks by which a folder that is not mounted, or another deployment's, is noticed.
        left.retain(|file| !file.contains("/media/.touchline"));
        assert_eq!(left, Vec::<String>::new(), "in {place}");
    }
    Ok(())
}

#[tokio::test]
async fn an_upload_over_the_limit_is_refused_at_its_creation() -> Result<()> {
    let (server, club) = server_without_files().await?;
    let refused = refusal(club.create_upload(UPLOAD_BYTES + 1, "long.mp4").await)?;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE, "{refused}");
    assert_eq!(files_below(&server.data_dir().join("uploads"))?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn a_spec_with_ten_mistakes_is_refused_with_all_ten() -> Result<()> {
    let Fixture { folder, club, .. } = fixture().await?;
    let video = club.upload(&match_of(folder.path())?, 1 << 20, |_, _| {}).await?;
    let spec = json!({
        "kind": "framing",
        "clips": [
            {"video_id": video.id, "start": -1.0, "end": 2.0, "rotation": 90.0, "colour": "red"},
            {"video_id": video.id, "start": 0.0, "end": 1000.0},
            {"video_id": video.id, "start": 0.0, "end": 2.0,
             "crop": [{"time": 0.0, "x": 600.0, "y": 0.0, "width": 180.0, "height": 320.0},
                      {"time": 1.0, "x": 0.0, "y": 0.0, "width": 320.0, "height": 320.0}]},
        ],
        "output": {"width": 811, "crf": 99},
        "upscale": {"fidelity": 2.0, "model": "no-such-net"},
    });
    let refused = refusal(club.start(&spec).await)?;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    let errors = refused.problem["errors"].as_array().context("the problem lists no errors")?;
    let pointers: Vec<_> = errors.iter().filter_map(|error| error["pointer"].as_str()).collect();
    for pointer in [
        "/clips/0/start",
        "/clips/0/rotation",
        "/clips/0/colour",
        "/clips/1/end",
        "/clips/2/crop/0",
        "/output/width",
        "/output/crf",
        "/upscale/fidelity",
    ] {
        ensure!(pointers.iter().any(|found| found.starts_with(pointer)), "{pointer} is not among {pointers:?}");
    }
    let page: Value = club.get("/exports").await?;
    assert_eq!(page["items"], json!([]));

    let malformed = club.request(Method::POST, "/exports").header("Content-Type", "application/json").body("{\"kind\"");
    assert_eq!(malformed.send().await?.status(), StatusCode::BAD_REQUEST);
    Ok(())
}

#[tokio::test]
async fn keyframes_outside_the_frame_or_off_the_aspect_are_refused_with_the_numbers() -> Result<()> {
    let Fixture { folder, club, .. } = fixture().await?;
    let video = club.upload(&match_of(folder.path())?, 1 << 20, |_, _| {}).await?;
    let with = |x: f64, width: f64| {
        json!({"kind": "framing", "clips": [{"video_id": video.id, "start": 0.0, "end": 2.0,
            "crop": [{"time": 0.0, "x": x, "y": 0.0, "width": width, "height": 320.0}]}]})
    };
    for (spec, number) in [(with(500.0, 180.0), "680"), (with(0.0, 300.0), "300")] {
        let refused = refusal(club.start(&spec).await)?;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
        let errors = refused.problem["errors"].to_string();
        ensure!(errors.contains(number), "{errors} does not say {number}");
    }
    Ok(())
}

#[tokio::test]
async fn expired_foreign_and_unsigned_tokens_are_401() -> Result<()> {
    let Fixture { server, club, .. } = fixture().await?;
    let mine: Value = claims(club.token())?;
    let signed = |claims: &Value, secret: &str| -> Result<String> {
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        Ok(jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &key)?)
    };
    let with = |key: &str, value: Value| {
        let mut claims = mine.clone();
        claims[key] = value;
        claims
    };
    let unsigned = {
        use base64::Engine;
        let part = |json: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json.to_string());
        format!("{}.{}.", part(&json!({"alg": "none", "typ": "JWT"})), part(&mine))
    };
    for (what, token) in [
        ("of another secret", signed(&mine, "another secret that is longer than 32 bytes")?),
        ("expired", signed(&with("exp", json!(1_600_000_000)), SECRET)?),
        ("of another issuer", signed(&with("iss", json!("another")), SECRET)?),
        ("for another audience", signed(&with("aud", json!("another")), SECRET)?),
        ("unsigned", unsigned),
        ("no token at all", "nonsense".to_owned()),
    ] {
        let answer = Client::with_token(&server.url(), &token).request(Method::GET, "/videos").send().await?;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "a token {what}");
    }
    let anonymous = reqwest::get(format!("{}/api/v1/videos", server.url())).await?;
    assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);
    Ok(())
}

/// The claims of a token, unverified.
fn claims(token: &str) -> Result<Value> {
    use base64::Engine;
    let middle = token.split('.').nth(1).context("no token")?;
    Ok(serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(middle)?)?)
}

#[tokio::test]
async fn a_ticket_opens_one_socket_only() -> Result<()> {
    let Fixture { server, club, .. } = fixture().await?;
    let ticket: Value = club.post("/ws-tickets", &Value::Null).await?;
    let ticket = ticket["ticket"].as_str().context("no ticket")?;
    let url = format!("ws://{}/api/v1/ws?ticket={ticket}", server.address());
    let (_socket, _) = connect_async(&url).await?;
    match connect_async(&url).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => assert_eq!(answer.status().as_u16(), 401),
        other => anyhow::bail!("the used ticket gave {other:?}"),
    }
    Ok(())
}
