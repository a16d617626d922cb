//! `make demo`: the whole way once, through the public surface. A match goes in, a vertical reel that follows one
//! walker comes out, upscaled by the model, with the people found in it; then a spotlight on her, an annotated
//! compilation and a clip. See `demo/out/` afterwards.

mod contact;

mod steps;
mod walker;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use touchline_tests::client::{Client, Detections, Export, Read};
use touchline_tests::repository;
use touchline_tests::server::Server;

use contact::Contact;
use steps::Steps;

/// Bytes of one piece of the upload: small enough that there are several.
const PIECE: usize = 1 << 20;

#[tokio::main]
async fn main() -> Result<()> {
    let began = Instant::now();
    let folder = repository().join("demo");
    let out = folder.join("out");
    std::fs::create_dir_all(&out).with_context(|| format!("making {}", out.display()))?;

    let steps = Steps::new(9);
    steps.next("making a 1080p match with sound from OpenCV's sample video");
    let source = folder.join("match.mp4");
    walker::make_match(&source)?;

    steps.next("starting a server with data of its own, making a tenant and a user by command line");
    let mut server = Server::start(&[]).await?;
    let account = server.account("FC Example", "coach@example.com", "editor")?;
    let client = Client::log_in(&server.url(), &account.email, &account.password).await?;

    steps.next("uploading the match by tus, in pieces of 1 MiB");
    let bar = steps.bytes();
    let video = client.upload(&source, PIECE, |sent, of| bar.show(sent, of)).await?;
    bar.done();

    steps.next("rendering the reel: the crop follows a walker, the model upscales it, people are found");
    let spec = spec(&video.id, "ai", json!({"rule": "opening"}));
    let bar = steps.frames();
    let export = client.render(&spec, |progress| bar.heard(progress)).await?;
    bar.done();

    steps.next("downloading the reel, reading the detections from the cache");
    client.download(&export.id, &out.join("reel.mp4")).await?;
    let detections = read_detections(&client, &export, &out).await?;
    write_json(&out.join("report.json"), export.report.as_ref().context("the export has no report")?)?;

    steps.next("putting a spotlight on the walker, where she was found; only what changes is encoded again");
    let lit = client.render(&spotlight(&export.id, &detections), |_| {}).await?;
    client.download(&lit.id, &out.join("spotlight.mp4")).await?;

    steps.next("making an annotated compilation, and taking a clip out of the match");
    let annotated = client.render(&notes(&video.id), |_| {}).await?;
    client.download(&annotated.id, &out.join("annotated.mp4")).await?;
    let clip = json!({"kind": "clip", "video_id": video.id, "start": walker::START, "end": walker::END});
    let clip = client.render(&clip, |_| {}).await?;
    client.download(&clip.id, &out.join("clip.mp4")).await?;

    steps.next("rendering the same reel without the model, to compare");
    let plain = client.render(&self::spec(&video.id, "lanczos", json!({"rule": "none"})), |_| {}).await?;
    let plain_reel = folder.join("lanczos.mp4");
    client.download(&plain.id, &plain_reel).await?;
    let ended = server.stop()?;
    ensure!(ended.success(), "the server ended with {ended}: {}", server.log());

    steps.next("drawing the contact sheet");
    let made = |name: &str| out.join(name);
    let contact = Contact {
        source: &source,
        plain: &plain_reel,
        reel: &made("reel.mp4"),
        spec: &spec,
        spotlight: &made("spotlight.mp4"),
        annotated: &made("annotated.mp4"),
        clip: &made("clip.mp4"),
    };
    contact.draw(&detections.frames, &out.join("contact.png"))?;

    summary(&export, &lit, &detections, &out, began.elapsed().as_secs_f64());
    Ok(())
}

/// About three seconds that follow the walker in red.
fn spec(video: &str, mode: &str, detect: Value) -> Value {
    json!({
        "kind": "framing",
        "clips": [{
            "video_id": video,
            "name": "The walker in red",
            "start": walker::START,
            "end": walker::END,
            "crop": walker::path(),
        }],
        "upscale": {"mode": mode},
        "detect": detect,
    })
}

/// A spotlight on the person found nearest to the middle of the reel, at each of its opening points.
fn spotlight(reel: &str, detections: &Detections) -> Value {
    let middle = f64::from(detections.width) / 2.0;
    let keyframes: Vec<Value> = detections
        .frames
        .iter()
        .filter_map(|frame| {
            let centre = |found: &edits::DetectedBox| f64::from(found.x + found.width / 2.0);
            let off = |found: &&edits::DetectedBox| (centre(found) - middle).abs();
            let found = frame.boxes.iter().min_by(|a, b| off(a).total_cmp(&off(b)))?;
            let y = f64::from(found.y + found.height / 2.0);
            let (radius_x, radius_y) = (f64::from(found.width) * 0.75, f64::from(found.height) * 0.6);
            Some(json!({"time": frame.time, "x": centre(found), "y": y, "radius_x": radius_x, "radius_y": radius_y}))
        })
        .collect();
    json!({
        "kind": "overlay",
        "source": {"export_id": reel},
        "style": {"dim": 0.45},
        "regions": [{"start": 0.0, "end": 2.0, "space": {"width": detections.width, "height": detections.height},
            "keyframes": keyframes}],
        "texts": [{"text": "Nr. 7", "start": 0.0, "end": 2.0, "x": 0.5, "y": 0.08, "size": 64}],
    })
}

/// Two moments of the match, rated.
fn notes(video: &str) -> Value {
    json!({
        "kind": "annotated",
        "video_id": video,
        "clips": [
            {"start": 13.0, "end": 15.0, "name": "Überraschender Lauf", "notes": "Alone across the square", "rating": 5},
            {"start": 4.0, "end": 6.0, "rating": 2, "tags": ["Pass", "Left side"]},
        ],
    })
}

/// Reads the detections twice: the second time the server only says that nothing changed.
async fn read_detections(client: &Client, export: &Export, out: &Path) -> Result<Detections> {
    let Read::Fresh { value, etag, body } = client.detections(&export.id, None).await? else {
        bail!("the server says 304 to a request without an entity tag");
    };
    let again = client.detections(&export.id, Some(&etag)).await?;
    ensure!(matches!(again, Read::NotModified), "the server sends the same detections twice");
    let body: Value = serde_json::from_slice(&body)?;
    write_json(&out.join("detections.json"), &body)?;
    Ok(value)
}

fn write_json(file: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    std::fs::write(file, text).with_context(|| format!("writing {}", file.display()))
}

fn summary(export: &Export, lit: &Export, detections: &Detections, out: &Path, seconds: f64) {
    let report = export.report.clone().unwrap_or_default();
    let number = |name: &str| report[name].as_f64().unwrap_or_default();
    let boxes: usize = detections.frames.iter().map(|frame| frame.boxes.len()).sum();
    let devices = report["devices"].as_array().map_or(0, Vec::len);
    println!();
    println!("A 1080p match went up by tus; a reel of {} frames, 810x1440, came back.", export.frames_total);
    println!(
        "{} source frames were upscaled by the model on {devices} devices in {:.1} s ({:.1} device seconds);",
        export.frames_inferred,
        number("seconds"),
        number("device_seconds"),
    );
    println!(
        "people were detected at {} points during that export: {boxes} boxes, then read from the cache alone.",
        detections.frames.len()
    );
    let smart = &lit.report.as_ref().map_or(&Value::Null, |report| &report["smart_render"]);
    println!(
        "For the spotlight {} frames were encoded again and {} copied.",
        smart["frames_rendered"], smart["frames_copied"]
    );
    println!("The demo took {seconds:.0} s.");
    println!();
    let files = [
        ("contact.png", "source and crop | Lanczos | AI | people: open this one first"),
        ("reel.mp4", "the reel"),
        ("spotlight.mp4", "the reel with a spotlight on the walker"),
        ("annotated.mp4", "two moments with their cards"),
        ("clip.mp4", "her way across the square, packets as they were"),
        ("report.json", "where the time went"),
        ("detections.json", "who was seen where"),
    ];
    println!("In {}:", out.display());
    for (name, what) in files {
        println!("  {name:<16} {what}");
    }
}
