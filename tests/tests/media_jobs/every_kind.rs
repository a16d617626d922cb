//! Frame exactness and sound of overlay, annotated and clip exports, through the command line: the right source
//! frames, at their own times, and every click when its moment is seen. For framing see `exactness.rs`.

use std::ffi::OsStr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use touchline_tests::cli::render;
use touchline_tests::ffmpeg::ffmpeg;
use touchline_tests::footage;

const X264: &[&str] = &["-c:v", "libx264", "-preset", "veryfast", "-g", "25", "-bf", "2", "-crf", "20", "-c:a", "aac"];

/// Length of the footage.
const SECONDS: u32 = 12;

/// Stamped footage, and what is in it.
struct Footage {
    path: PathBuf,
    /// The stamp of each frame.
    stamps: Vec<u32>,
    /// When each frame is shown, in seconds from the first.
    times: Vec<f64>,
    /// When clicks were filmed, in seconds from the first frame.
    clicks: Vec<f64>,
}

impl Footage {
    /// Reads a file whose first frame was filmed at second `cut`.
    fn read(path: &Path, cut: f64) -> Result<Self> {
        let (ticks, (numerator, denominator)) = footage::frame_times(path)?;
        let seconds = |tick: &i64| (tick - ticks[0]) as f64 * numerator as f64 / denominator as f64;
        let clicks = (0..SECONDS).map(|second| f64::from(second) - cut).filter(|time| *time >= -0.001).collect();
        let times = ticks.iter().map(seconds).collect();
        Ok(Self { path: path.to_owned(), stamps: footage::stamps(path)?, times, clicks })
    }

    /// The frames with start <= PTS < end.
    fn between(&self, start: f64, end: f64) -> Range<usize> {
        let at = |time: f64| self.times.partition_point(|shown| *shown < time - 1e-9);
        at(start)..at(end)
    }
}

/// Renders, and checks that the result shows exactly the frames of `ranges`, one after the other and each for as long
/// as in the source, and that clicks are heard where they were filmed.
fn check(source: &Footage, kind: &str, spec: &Value, ranges: &[Range<usize>]) -> Result<Value> {
    let output = source.path.with_extension(format!("{kind}.mp4"));
    let report = render(kind, &source.path, spec, &output)?;
    let result = Footage::read(&output, 0.0)?;
    let wanted: Vec<u32> = ranges.iter().flat_map(|range| source.stamps[range.clone()].to_vec()).collect();
    ensure!(result.stamps.len() == wanted.len(), "{kind}: {} frames for {}", result.stamps.len(), wanted.len());
    if let Some(wrong) = (0..wanted.len()).find(|&n| result.stamps[n] != wanted[n]) {
        anyhow::bail!("{kind}: frame {wrong} shows {} for {}", result.stamps[wrong], wanted[wrong]);
    }
    ensure!(report["frames"] == wanted.len(), "{kind}: the report counts otherwise: {report}");

    let (mut begin, mut number) = (0.0, 0);
    let mut moments = Vec::new();
    for range in ranges {
        let first = source.times[range.start];
        let end = source.times.get(range.end).copied();
        for frame in range.clone() {
            let due = begin + source.times[frame] - first;
            let shown = result.times[number];
            ensure!((shown - due).abs() < 0.001, "{kind}: frame {number} is shown at {shown} s, due at {due} s");
            number += 1;
        }
        let inside = |click: &&f64| **click > first + 0.03 && end.is_none_or(|end| **click < end - 0.03);
        moments.extend(source.clicks.iter().filter(inside).map(|click| begin + click - first));
        begin += end.unwrap_or(f64::MAX) - first;
    }
    // A source whose sound begins before its pictures keeps that lead.
    let lead = footage::start(&output, "v:0")? - footage::start(&output, "a:0")?;
    let heard: Vec<f64> = footage::clicks(&output)?.into_iter().map(|click| click - lead).collect();
    for moment in &moments {
        let nearest = heard.iter().map(|click| (click - moment).abs()).fold(f64::MAX, f64::min);
        ensure!(nearest < 0.003, "{kind}: the click of {moment:.3} s is heard {:.1} ms off: {heard:?}", nearest * 1e3);
    }
    ensure!(moments.len() >= 2, "{kind}: only {} clicks to hear", moments.len());
    Ok(report)
}

fn every_kind(source: &Footage) -> Result<()> {
    let all = 0..source.times.len();
    let ring = |time: f64| json!({"time": time, "x": 100, "y": 300, "radius_x": 40, "radius_y": 30});
    let spot = json!({"regions": [{"start": 3.3, "end": 5.1, "keyframes": [ring(3.3), ring(5.1)]}],
        "texts": [{"text": "Nr. 7", "start": 8.05, "end": 8.5, "x": 0.5, "y": 0.9}]});
    let report = check(source, "overlay", &spot, std::slice::from_ref(&all))?;
    println!("{}: {}", source.path.display(), report["smart_render"]);

    let clips = [(1.3, 4.04), (6.017, 9.5), (0.0, 2.5)];
    let noted: Vec<_> = clips.iter().map(|(start, end)| json!({"start": start, "end": end})).collect();
    let ranges: Vec<_> = clips.iter().map(|(start, end)| source.between(*start, *end)).collect();
    check(source, "annotated", &json!({ "clips": noted }), &ranges)?;

    let (start, end) = (2.31, 7.77);
    let range = source.between(start, end);
    for mode in ["copy", "encode"] {
        let spec = json!({"start": start, "end": end, "mode": mode});
        check(source, "clip", &spec, std::slice::from_ref(&range))
            .map_err(|error| error.context(format!("clip by {mode}")))?;
    }
    Ok(())
}

fn stamped(name: &str, rate: &str, select: Option<&str>, encode: &[&str]) -> Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join(name);
    footage::stamped(&path, rate, SECONDS, select, &[X264, encode].concat())?;
    Ok((folder, path))
}

#[test]
fn exact_from_25_fps() -> Result<()> {
    let (_folder, path) = stamped("source.mp4", "25", None, &[])?;
    every_kind(&Footage::read(&path, 0.0)?)
}

#[test]
fn exact_from_29_97_fps_in_matroska() -> Result<()> {
    let (_folder, path) = stamped("source.mkv", "30000/1001", None, &[])?;
    every_kind(&Footage::read(&path, 0.0)?)
}

#[test]
fn exact_from_a_variable_rate() -> Result<()> {
    let (_folder, path) = stamped("source.mp4", "50", Some("not(mod(n,7))+not(mod(n,3))"), &[])?;
    every_kind(&Footage::read(&path, 0.0)?)
}

#[test]
fn exact_from_a_stream_that_starts_late_with_open_groups() -> Result<()> {
    let (_folder, path) =
        stamped("source.ts", "50", None, &["-x264-params", "open-gop=1", "-output_ts_offset", "900"])?;
    every_kind(&Footage::read(&path, 0.0)?)
}

#[test]
fn exact_from_hevc() -> Result<()> {
    let (_folder, path) = stamped("source.mp4", "25", None, &["-c:v", "libx265", "-x265-params", "log-level=none"])?;
    every_kind(&Footage::read(&path, 0.0)?)
}

#[test]
fn exact_from_a_file_with_an_edit_list() -> Result<()> {
    let (folder, whole) = stamped("whole.mov", "25", None, &[])?;
    let path = folder.path().join("cut.mov");
    let whole = whole.to_string_lossy();
    ffmpeg(["-ss", "1.24", "-i", &whole, "-c", "copy"].map(OsStr::new).into_iter().chain([path.as_os_str()]))?;
    let first = footage::first_stamp(&path)?;
    every_kind(&Footage::read(&path, f64::from(first) / 25.0)?)
}

#[test]
fn an_overlay_of_nothing_is_the_file_itself() -> Result<()> {
    let (folder, path) = stamped("source.mp4", "25", None, &[])?;
    let output = folder.path().join("same.mp4");
    render("overlay", &path, &json!({}), &output)?;
    assert!(std::fs::read(&path)? == std::fs::read(&output)?);
    Ok(())
}

#[test]
fn only_touched_stretches_of_a_reel_are_rendered() -> Result<()> {
    let (folder, path) = stamped("source.mp4", "25", None, &[])?;
    let reel = folder.path().join("reel.mp4");
    let framing = json!({"clips": [{"start": 0, "end": 8}], "output": {"width": 640, "height": 360},
        "upscale": {"mode": "lanczos"}, "detect": {"rule": "none"}});
    render("framing", &path, &framing, &reel)?;
    let ring = json!({"time": 3.2, "x": 320, "y": 300, "radius_x": 40, "radius_y": 30});
    let last = json!({"time": 4.7, "x": 320, "y": 300, "radius_x": 40, "radius_y": 30});
    let spot = json!({"regions": [{"start": 3.2, "end": 4.7, "keyframes": [ring, last]}]});
    let report = render("overlay", &reel, &spot, &folder.path().join("lit.mp4"))?;
    assert_eq!(report["smart_render"], json!({"frames_rendered": 60, "frames_copied": 180, "rendered_in_full": null}));
    Ok(())
}

#[test]
fn one_bad_clip_does_not_lose_the_rest() -> Result<()> {
    let (folder, path) = stamped("source.mp4", "25", None, &[])?;
    let output = folder.path().join("review.mp4");
    let texts =
        ["", "'; rm -rf $HOME; echo '", "שלום עולם", "مرحبا", "⚽🔥 ÄÖÜ éèê", &"long ".repeat(100), "%{pts}\\n\u{1}"];
    let mut clips: Vec<_> = (1..)
        .zip(texts)
        .map(|(n, text)| json!({"start": n, "end": f64::from(n) + 0.2, "name": text, "notes": text, "rating": n % 5 + 1}))
        .collect();
    clips.push(json!({"start": 75, "end": 80, "name": "Beyond"}));
    let report = render("annotated", &path, &json!({ "clips": clips }), &output)?;
    assert_eq!(report["frames"], 35);
    let warnings = report["warnings"].as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].as_str().is_some_and(|text| text.contains("Beyond")), "{warnings:?}");

    let none = render("annotated", &path, &json!({"clips": [{"start": 75, "end": 80}]}), &folder.path().join("no.mp4"));
    let error = none.expect_err("nothing was left to render").to_string();
    assert!(error.contains("75"), "{error}");
    assert!(!folder.path().join("no.mp4").exists());
    Ok(())
}
