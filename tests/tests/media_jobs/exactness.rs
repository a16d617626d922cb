//! Frame exactness and sound of whole exports, through the command line: every output frame shows exactly the source
//! frame of the time map, and every click is heard when its moment is seen, across clip joins and segment seams.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use touchline_tests::ffmpeg::ffmpeg;
use touchline_tests::footage;

const FPS: i128 = 30;

/// A clip in milliseconds of the source.
#[derive(Clone, Copy)]
struct Clip {
    start: i128,
    end: i128,
}

const X264: &[&str] = &["-c:v", "libx264", "-preset", "veryfast", "-g", "50", "-bf", "2", "-crf", "20", "-c:a", "aac"];

fn render(input: &Path, clips: &[Clip], output: &Path) -> Result<Value> {
    let clips: Vec<_> =
        clips.iter().map(|clip| json!({"start": clip.start as f64 / 1e3, "end": clip.end as f64 / 1e3})).collect();
    let spec = json!({
        "kind": "framing", "clips": clips, "upscale": {"mode": "lanczos"}, "detect": {"rule": "none"},
        "output": {"width": 320, "height": 180, "fps": 30, "preset": "veryfast", "crf": 20},
    });
    touchline_tests::cli::render("framing", input, &spec, output)
}

/// Frames of a clip: round-half-up of its length times the rate.
fn frames_of(clip: Clip) -> i128 {
    ((clip.end - clip.start) * FPS * 2 + 1000).div_euclid(2000).max(1)
}

/// The source frame each output frame is to show: the greatest time at or before, within half a tick.
fn wanted(input: &Path, clips: &[Clip]) -> Result<Vec<u32>> {
    let (times, (numerator, denominator)) = footage::frame_times(input)?;
    let (numerator, denominator) = (i128::from(numerator), i128::from(denominator));
    let mut shown = Vec::new();
    for &clip in clips {
        for n in 0..frames_of(clip) {
            // All in units of 1/(2·1000·FPS·denominator) s.
            let unit = 2 * 1000 * FPS * denominator;
            let time = clip.start * (unit / 1000) + n * (unit / FPS);
            let at_or_before = |ticks: &&i64| {
                let relative = i128::from(**ticks - times[0]) * numerator;
                relative * (unit / denominator) <= time + numerator * (unit / denominator) / 2
            };
            shown.push(times.iter().take_while(at_or_before).count().saturating_sub(1) as u32);
        }
    }
    Ok(shown)
}

/// Renders a reel of `input` and compares every frame. Returns how many there were.
fn check_frames(input: &Path, clips: &[Clip]) -> Result<usize> {
    let output = input.with_extension("out.mp4");
    let report = render(input, clips, &output)?;
    let (wanted, shown) = (wanted(input, clips)?, footage::stamps(&output)?);
    ensure!(shown.len() == wanted.len(), "{} frames where {} were planned", shown.len(), wanted.len());
    ensure!(report["frames"] == wanted.len(), "the report counts otherwise: {report}");
    let wrong: Vec<_> = (0..shown.len()).filter(|&n| shown[n] != wanted[n]).collect();
    ensure!(
        wrong.is_empty(),
        "{} wrong frames, the first at {}: {} for {}",
        wrong.len(),
        wrong[0],
        shown[wrong[0]],
        wanted[wrong[0]]
    );
    Ok(shown.len())
}

const REEL: [Clip; 3] =
    [Clip { start: 0, end: 7013 }, Clip { start: 3370, end: 10210 }, Clip { start: 1501, end: 8000 }];

fn exact_at(rate: &str, select: Option<&str>, name: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let input = folder.path().join(name);
    footage::stamped(&input, rate, 12, select, X264)?;
    let frames = check_frames(&input, &REEL)?;
    assert!(frames >= 600, "only {frames} frames were compared");
    Ok(())
}

#[test]
fn every_frame_is_right_from_24_fps() -> Result<()> {
    exact_at("24", None, "source.mp4")
}

#[test]
fn every_frame_is_right_from_25_fps() -> Result<()> {
    exact_at("25", None, "source.mkv")
}

#[test]
fn every_frame_is_right_from_29_97_fps() -> Result<()> {
    exact_at("30000/1001", None, "source.mp4")
}

#[test]
fn every_frame_is_right_from_50_fps() -> Result<()> {
    exact_at("50", None, "source.ts")
}

#[test]
fn every_frame_is_right_from_60_fps() -> Result<()> {
    exact_at("60", None, "source.mov")
}

#[test]
fn every_frame_is_right_from_a_variable_rate() -> Result<()> {
    exact_at("60", Some("not(mod(n,7))+not(mod(n,5))+eq(mod(n,11),3)"), "source.mp4")
}

/// Clicks of a five-clip, one-minute reel against where the picture shows their moment.
fn check_sound(input: &Path, cut: f64) -> Result<()> {
    let clips = [(2_250, 14_250), (20_500, 32_000), (5_125, 18_125), (40_750, 52_250), (30_300, 42_300)];
    let clips = clips.map(|(start, end)| Clip { start, end });
    let output = input.with_extension("reel.mp4");
    render(input, &clips, &output)?;
    // The picture shows which moment of the uncut footage its time 0 is.
    let first = f64::from(footage::first_stamp(input)?) / 25.0;
    ensure!((first - cut).abs() < 0.2, "the source begins at {first} s, not near {cut} s");
    let mut wanted = Vec::new();
    let mut frames = 0;
    for clip in clips {
        let (start, end) = (clip.start as f64 / 1e3, clip.end as f64 / 1e3);
        let moments = (0..60).map(f64::from).map(|second| second - first);
        let inside = moments.filter(|moment| *moment >= start + 0.01 && *moment < end - 0.01);
        wanted.extend(inside.map(|moment| frames as f64 / FPS as f64 + moment - start));
        frames += frames_of(clip);
    }
    let heard = footage::clicks(&output)?;
    ensure!(heard.len() == wanted.len(), "{} clicks where {} were filmed", heard.len(), wanted.len());
    let off: Vec<f64> = heard.iter().zip(&wanted).map(|(heard, wanted)| (heard - wanted) * 1e3).collect();
    let (least, most) = (off.iter().copied().fold(f64::MAX, f64::min), off.iter().copied().fold(f64::MIN, f64::max));
    println!("{} clicks, {least:.2} to {most:.2} ms off, the last {:.2} ms", off.len(), off[off.len() - 1]);
    ensure!(least >= -3.0 && most <= 3.0, "clicks are heard {least:.2} to {most:.2} ms off");
    Ok(())
}

#[test]
fn clicks_are_heard_when_their_moment_is_seen() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("plain.mp4");
    footage::stamped(&input, "25", 60, None, X264)?;
    check_sound(&input, 0.0)
}

#[test]
fn clicks_are_heard_in_time_from_a_file_with_an_edit_list() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let whole = folder.path().join("whole.mp4");
    footage::stamped(&whole, "25", 60, None, X264)?;
    let input = folder.path().join("cut.mp4");
    // A copy from between two keyframes: the file starts earlier than its edit list shows.
    let whole = whole.to_string_lossy();
    let cut = ["-ss", "1.24", "-i", &whole, "-c", "copy"].map(OsStr::new);
    ffmpeg(cut.into_iter().chain([input.as_os_str()]))?;
    check_sound(&input, 1.24)
}

#[test]
fn clicks_are_heard_in_time_from_a_stream_that_starts_late() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let input = folder.path().join("late.ts");
    let encode = [X264, &["-output_ts_offset", "3600"]].concat();
    footage::stamped(&input, "25", 60, None, &encode)?;
    check_sound(&input, 0.0)
}
