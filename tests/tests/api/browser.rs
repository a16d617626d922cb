//! What a browser shows of the files: a decoder and a player that is not the ffmpeg program, by a shared link from
//! another origin.

use std::path::Path;

use anyhow::{Context, Result};
use reqwest::StatusCode;
use serde_json::{Value, json};
use touchline_tests::browser::Browser;
use touchline_tests::client::Client;
use touchline_tests::server::Server;
use touchline_tests::shared_server::{shared_server, unique};
use touchline_tests::{footage, origin};

const X264: &[&str] = &["-c:v", "libx264", "-preset", "veryfast", "-g", "25", "-bf", "2", "-crf", "20", "-c:a", "aac"];

/// Loads a video, shows it at each time, and reads the number its picture carries (see `footage`). The first entry is
/// what is shown before anything was asked for. `seeked` says that a seek has ended, not that its frame is on the
/// screen yet: that is what `requestVideoFrameCallback` reports.
const READ_STAMPS: &str = r"
    const [url, times] = arguments;
    const video = document.createElement('video');
    const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
    const context = canvas.getContext('2d', { willReadFrequently: true });
    const event = name => new Promise((resolve, reject) => {
        video.addEventListener(name, resolve, { once: true });
        video.addEventListener('error', () => reject(video.error && video.error.message), { once: true });
    });
    const stamp = () => {
        context.drawImage(video, 0, 0, 640, 360);
        let number = 0;
        for (let bit = 0; bit < 12; bit++) {
            const [red] = context.getImageData(100 + 40 * bit, 180, 1, 1).data;
            number |= (red > 128) << bit;
        }
        return number;
    };
    video.crossOrigin = 'anonymous';
    video.muted = true;
    video.preload = 'auto';
    document.body.append(video);
    const shown = () => new Promise(resolve => video.requestVideoFrameCallback(resolve));
    const seek = async time => {
        const frame = shown();
        const seeked = event('seeked');
        video.currentTime = time;
        await Promise.all([seeked, frame]);
    };
    const first = shown();
    video.src = url;
    await event('loadeddata');
    await first;
    const stamps = [stamp()];
    for (const time of times) {
        await seek(time);
        stamps.push(stamp());
    }
    await seek(0);
    // Played through, nothing stops it.
    video.playbackRate = 8;
    const ended = event('ended');
    await video.play();
    await ended;
    return { stamps, duration: video.duration };
";

struct Club {
    server: &'static Server,
    client: Client,
    browser: Browser,
    folder: tempfile::TempDir,
}

impl Club {
    async fn start() -> Result<Self> {
        let (server, tenant) = (shared_server().await?, unique("club"));
        let account = server.account(&tenant, &format!("coach@{tenant}.example"), "editor")?;
        let client = Client::log_in(&server.url(), &account.email, &account.password).await?;
        let browser = Browser::start().await?;
        // A page of another origin: a shared link must work from anywhere.
        let page = b"<title>elsewhere</title>".to_vec();
        browser.open(&origin::serve(vec![("/", "text/html", page)])?).await?;
        Ok(Self { server, client, browser, folder: tempfile::tempdir()? })
    }

    async fn upload(&self, name: &str) -> Result<String> {
        let file = self.folder.path().join(name);
        footage::stamped(&file, "25", 12, None, X264)?;
        Ok(self.client.upload(&file, 1 << 20, |_, _| {}).await?.id)
    }

    /// Renders a spec and lets the browser show the result at `times`.
    async fn shown(&self, spec: &Value, times: &[f64]) -> Result<(Vec<u64>, f64)> {
        let export = self.client.render(spec, |_| {}).await?;
        let link: Value = self.client.post(&format!("/exports/{}/links", export.id), &json!({})).await?;
        let url = link["url"].as_str().context("a link has a url")?;
        let url = if url.starts_with("http") { url.to_owned() } else { format!("{}{url}", self.server.url()) };
        let read = self.browser.run(READ_STAMPS, &[json!(url), json!(times)]).await?;
        let stamps = read["stamps"].as_array().context("stamps")?.iter().filter_map(Value::as_u64).collect();
        Ok((stamps, read["duration"].as_f64().context("duration")?))
    }
}

#[tokio::test]
async fn a_copied_clip_starts_exactly_at_its_start() -> Result<()> {
    let club = Club::start().await?;
    let video = club.upload("match.mp4").await?;
    // Frame 58 is the first at or after 2.31 s; the key frame before it is frame 50.
    let spec = json!({"kind": "clip", "video_id": video, "start": 2.31, "end": 7.77});
    let (stamps, duration) = club.shown(&spec, &[0.5, 2.02, 5.4]).await?;
    assert_eq!(stamps, [58, 70, 108, 193]);
    assert!((duration - 137.0 / 25.0).abs() < 0.05, "{duration} s for 137 frames");
    Ok(())
}

#[tokio::test]
async fn a_spliced_overlay_shows_every_frame_through_its_seams() -> Result<()> {
    let club = Club::start().await?;
    let video = club.upload("match.mp4").await?;
    let ring = |time: f64| json!({"time": time, "x": 100, "y": 300, "radius_x": 40, "radius_y": 30});
    let spec = json!({"kind": "overlay", "source": {"video_id": video},
        "regions": [{"start": 3.3, "end": 4.7, "keyframes": [ring(3.3), ring(4.7)]}]});
    // Both seams, at 3 s and at 5 s, and what lies around them.
    let frames: Vec<u64> = (70..80).chain(120..130).collect();
    let times: Vec<f64> = frames.iter().map(|frame| (*frame as f64 + 0.5) / 25.0).collect();
    let (stamps, duration) = club.shown(&spec, &times).await?;
    assert_eq!(stamps[0], 0);
    assert_eq!(stamps[1..], frames);
    assert!((duration - 12.0).abs() < 0.05, "{duration} s");
    Ok(())
}

#[tokio::test]
async fn strangers_draw_on_nothing() -> Result<()> {
    let server = shared_server().await?;
    let mut clients = Vec::new();
    for tenant in [unique("club"), unique("rival")] {
        let account = server.account(&tenant, &format!("coach@{tenant}.example"), "editor")?;
        clients.push(Client::log_in(&server.url(), &account.email, &account.password).await?);
    }
    let (club, rival) = (&clients[0], &clients[1]);
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("match.mp4");
    footage::stamped(Path::new(&file), "25", 4, None, X264)?;
    let video = club.upload(&file, 1 << 20, |_, _| {}).await?.id;
    let clip = json!({"kind": "clip", "video_id": video, "start": 1, "end": 3});
    let export = club.render(&clip, |_| {}).await?.id;

    let status =
        |error: anyhow::Error| error.downcast_ref::<touchline_tests::client::Refusal>().map(|refusal| refusal.status);
    let drawn = json!({"kind": "overlay", "source": {"export_id": export}});
    assert_eq!(club.render(&drawn, |_| {}).await?.frames_total, 50);
    for spec in [&drawn, &clip, &json!({"kind": "annotated", "video_id": video, "clips": [{"start": 0, "end": 1}]})] {
        for path in ["/exports", "/exports/estimate"] {
            let refused = rival.post::<Value>(path, spec).await.expect_err("it is the club's");
            assert_eq!(status(refused), Some(StatusCode::UNPROCESSABLE_ENTITY), "{path} {spec}");
        }
    }
    let frame = format!("/videos/{video}/detections/frame");
    let refused = rival.post::<Value>(&frame, &json!({"time": 1.0})).await.expect_err("it is the club's");
    assert_eq!(status(refused), Some(StatusCode::NOT_FOUND));
    let found: Value = club.post(&frame, &json!({"frame": 30})).await?;
    assert_eq!((&found["frames"][0]["frame"], &found["width"]), (&json!(30), &json!(640)));
    for (body, code) in
        [(json!({"time": 9.0}), "/time"), (json!({}), "/time"), (json!({"frame": 1, "time": 1}), "/frame")]
    {
        let refused = club.post::<Value>(&frame, &body).await.expect_err("it is wrong");
        let message = format!("{refused:#}");
        assert_eq!(status(refused), Some(StatusCode::UNPROCESSABLE_ENTITY), "{body} for {code}: {message}");
    }
    let estimate: Value = club
        .post(
            "/exports/estimate",
            &json!({"kind": "framing",
        "clips": [{"video_id": video, "start": 0, "end": 3}], "detect": {"rule": "none"}}),
        )
        .await?;
    assert_eq!(estimate["frames"], 90);
    assert_eq!(estimate["frames_inferred"], 75, "25 source frames a second: {estimate}");
    Ok(())
}
