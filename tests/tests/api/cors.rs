//! A page of a club's own site, on another origin than the server, does the whole work in a browser: it uploads,
//! renders, watches, shares and plays.

use anyhow::{Context, Result};
use serde_json::json;
use touchline_tests::browser::Browser;
use touchline_tests::client::Client;
use touchline_tests::server::Server;
use touchline_tests::{footage, origin, repository};

/// Everything through the API, from the page; what happened on the way.
const WORK: &str = r"
    const [server, token] = arguments;
    const api = `${server}/api/v1`;
    const headers = { Authorization: `Bearer ${token}` };
    const json = async (path, body) => {
        const answer = await fetch(api + path, body === undefined ? { headers } : {
            method: 'POST', headers: { ...headers, 'Content-Type': 'application/json' }, body: JSON.stringify(body),
        });
        if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
        return answer.json();
    };

    const file = await (await fetch('/match.mp4')).blob();
    const uploaded = await new Promise((resolve, reject) => {
        const upload = new tus.Upload(file, {
            endpoint: `${api}/uploads`, chunkSize: 64 * 1024, headers, metadata: { filename: 'match.mp4' },
            onError: reject, onSuccess: () => resolve(upload.url),
        });
        upload.start();
    });
    const video = uploaded.split('/').pop();
    let state = 'processing';
    while (state === 'processing') ({ state } = await json(`/videos/${video}`));

    const clip = { kind: 'clip', video_id: video, start: 1, end: 5, mode: 'encode' };
    const { id } = await json('/exports', clip);
    const { ticket } = await json('/ws-tickets', {});
    const heard = await new Promise((resolve, reject) => {
        const states = [];
        const socket = new WebSocket(`${api.replace('http', 'ws')}/ws?ticket=${ticket}`);
        socket.onopen = () => socket.send(JSON.stringify({ type: 'subscribe', export_id: id }));
        socket.onclose = () => reject(new Error(`the socket closed after ${states}`));
        socket.onmessage = ({ data }) => {
            const message = JSON.parse(data);
            states.push(message.state);
            if (['complete', 'failed', 'cancelled'].includes(message.state)) resolve(states);
        };
    });

    const { url } = await json(`/exports/${id}/links`, {});
    const player = document.createElement('video');
    player.muted = true;
    player.crossOrigin = 'anonymous';
    document.body.append(player);
    const frames = [];
    const count = (_, { mediaTime }) => {
        frames.push(mediaTime);
        player.requestVideoFrameCallback(count);
    };
    player.requestVideoFrameCallback(count);
    const ended = new Promise((resolve, reject) => {
        player.onended = resolve;
        player.onerror = () => reject(new Error(player.error.message));
    });
    player.src = url;
    await player.play();
    await ended;
    return { origin: location.origin, bytes: file.size, state, heard, duration: player.duration, frames };
";

/// A page of the club: a tus client, and a match to upload.
fn site(files: Vec<origin::File>) -> Result<String> {
    let page = b"<!doctype html><title>club</title><script src=/tus.min.js></script>".to_vec();
    let client = repository().join("tests/tools/node_modules/tus-js-client/dist/tus.min.js");
    let client = std::fs::read(&client)
        .with_context(|| format!("{} is missing; run `scripts/setup tests`", client.display()))?;
    let mut all = vec![("/", "text/html", page), ("/tus.min.js", "text/javascript", client)];
    all.extend(files);
    origin::serve(all)
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_uploads_watches_and_plays() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    footage::stamped(&file, "25", 8, None, &["-c:v", "libx264", "-preset", "veryfast", "-crf", "12", "-c:a", "aac"])?;
    let bytes = std::fs::read(&file)?;
    let size = bytes.len();
    let (allowed, stranger) = (site(vec![("/match.mp4", "video/mp4", bytes)])?, site(Vec::new())?);
    let origins = json!([allowed]).to_string();
    let server =
        Server::start(&[("TOUCHLINE__DEVICES__LIST", r#"["sim:0"]"#), ("TOUCHLINE__CORS__ALLOWED_ORIGINS", &origins)])
            .await?;
    let account = server.account("club", "coach@club.example", "editor")?;
    let club = Client::log_in(&server.url(), &account.email, &account.password).await?;
    let browser = Browser::start().await?;

    browser.open(&allowed).await?;
    let done = browser.run(WORK, &[json!(server.url()), json!(club.token())]).await?;
    assert_eq!((&done["origin"], &done["bytes"], &done["state"]), (&json!(allowed), &json!(size), &json!("ready")));
    let heard = done["heard"].as_array().context("states")?;
    assert_eq!(heard.last(), Some(&json!("complete")), "{heard:?}");
    let duration = done["duration"].as_f64().context("a duration")?;
    assert!((duration - 4.0).abs() < 0.1, "{duration} s");
    // A busy machine skips frames, but none comes twice or too early.
    let frames: Vec<f64> =
        done["frames"].as_array().context("frames")?.iter().filter_map(|time| time.as_f64()).collect();
    assert!(frames.len() >= 4 && frames.is_sorted_by(|a, b| a < b), "frames do not advance: {frames:?}");
    assert!(frames.last() > Some(&3.0), "it was not played to its end: {frames:?}");

    // The same from an origin that is not allowed.
    browser.open(&stranger).await?;
    let read = "return fetch(arguments[0]).then(answer => answer.status, error => error.name)";
    let refused = browser.run(read, &[json!(format!("{}/api/v1/openapi.json", server.url()))]).await?;
    assert_eq!(refused, json!("TypeError"), "a page of any origin reads the API");
    Ok(())
}
