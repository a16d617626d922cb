//! A file through the other kinds of export: each shows exactly its source frames, each for as long as the source did,
//! and the sound stays with them.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::case::{Accepted, Footage};
use super::check::{Source, Workspace, check_clicks, ffprobe, fraction, json_of, source};
use super::picture;

/// Seconds by which a frame may be shown off its time.
const ON_TIME: f64 = 0.001;

/// What is made of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Overlay,
    Annotated,
    ClipCopy,
    ClipEncode,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Overlay, Self::Annotated, Self::ClipCopy, Self::ClipEncode];

    fn command(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Annotated => "annotated",
            Self::ClipCopy | Self::ClipEncode => "clip",
        }
    }

    /// The spec for a source of so many seconds, and the seconds of it that are to be shown one after the other; none:
    /// all of it.
    fn spec(self, seconds: f64) -> (Value, Vec<(f64, f64)>) {
        let at = |share: f64| (share * seconds * 1000.0).round() / 1000.0;
        let clip = |mode: &str| {
            let span = (at(0.21), at(0.77));
            (json!({"start": span.0, "end": span.1, "mode": mode}), vec![span])
        };
        match self {
            Self::Overlay => {
                let text = json!({"text": "7", "start": at(0.3), "end": at(0.6), "x": 0.5, "y": 0.93, "size": 40});
                (json!({ "texts": [text] }), Vec::new())
            }
            Self::Annotated => {
                let spans = vec![(at(0.51), at(0.83)), (at(0.13), at(0.47))];
                let clips: Vec<_> = spans.iter().map(|(start, end)| json!({"start": start, "end": end})).collect();
                (json!({ "clips": clips }), spans)
            }
            Self::ClipCopy => clip("copy"),
            Self::ClipEncode => clip("encode"),
        }
    }
}

/// Renders a file as `kind` and checks every frame. False: it cannot be copied into an MP4 file, and is refused with that reason.
///
/// # Errors
/// When a frame is wrong or shown at another time, or a click is heard off its moment.
pub fn check(workspace: &Workspace, footage: &Footage, accepted: &Accepted, kind: Kind) -> Result<bool> {
    let whole = source(footage, accepted, workspace.input())?;
    let (spec, spans) = kind.spec(whole.frames[whole.frames.len() - 1].0);
    let done = workspace.render(kind.command(), &spec)?;
    let stderr = String::from_utf8_lossy(&done.stderr);
    if kind == Kind::ClipCopy && stderr.contains("encode the clip instead") {
        ensure!(
            done.status.code() == Some(1) && !workspace.output().exists(),
            "a copy that is refused leaves a file: {stderr}"
        );
        return Ok(false);
    }
    let report = json_of(&done)?;
    let all = 0..whole.frames.len();
    let ranges = if spans.is_empty() { vec![all] } else { spans.iter().map(|span| between(&whole, *span)).collect() };
    let wanted: usize = ranges.iter().map(Range::len).sum();
    ensure!(report["frames"] == wanted, "{} frames are reported, not {wanted}", report["frames"]);
    check_frames(workspace, &whole, &ranges)?;
    if accepted.heard && footage.sound.is_some() && ranges.len() == 1 {
        check_sound(workspace, footage, accepted, &whole, &ranges[0])?;
    }
    Ok(true)
}

/// The frames with start <= PTS < end.
fn between(source: &Source, (start, end): (f64, f64)) -> Range<usize> {
    let at = |time: f64| source.frames.partition_point(|(shown, _)| *shown < time - 1e-9);
    at(start)..at(end)
}

fn check_frames(workspace: &Workspace, whole: &Source, ranges: &[Range<usize>]) -> Result<()> {
    let shown = shown(workspace.output())?;
    let mut due = Vec::new();
    let mut begin = 0.0;
    for range in ranges {
        let first = whole.frames[range.start].0;
        due.extend(whole.frames[range.clone()].iter().map(|(time, number)| (begin + time - first, *number)));
        begin += whole.frames.get(range.end).map_or(0.0, |(end, _)| end - first);
    }
    ensure!(shown.len() == due.len(), "{} frames are shown, not {}", shown.len(), due.len());
    let wrong = shown
        .iter()
        .zip(&due)
        .find(|((at, seen), (time, number))| *seen != Some(*number) || (at - time).abs() > ON_TIME.max(whole.tick));
    match wrong {
        Some(((at, seen), (time, number))) => {
            anyhow::bail!("frame {seen:?} is shown at {at:.4} s where {number} is due at {time:.4} s")
        }
        None => Ok(()),
    }
}

/// When each frame is shown, in seconds from the first, and its number.
fn shown(output: &Path) -> Result<Vec<(f64, Option<u32>)>> {
    let entries = "stream=codec_name:packet=pts_time,flags";
    let probed = ffprobe(output, &["-select_streams", "v:0", "-show_entries", entries])?;
    // FFmpeg's wrapper of dav1d gives frames out that an edit list hides; that of libaom does not.
    let decoder: &[&str] = if probed["streams"][0]["codec_name"] == "av1" { &["-c:v", "libaom-av1"] } else { &[] };
    let packets = probed["packets"].as_array().context("no packets")?.iter();
    let kept = packets.filter(|packet| packet["flags"].as_str().is_some_and(|flags| !flags.contains('D')));
    let times: Option<Vec<f64>> = kept.map(|packet| packet["pts_time"].as_str()?.parse().ok()).collect();
    let mut times = times.context("a frame without a time")?;
    times.sort_by(f64::total_cmp);
    let frames = picture::frames(output, decoder)?;
    ensure!(times.len() == frames.len(), "{} times for {} frames", times.len(), frames.len());
    Ok(times.iter().zip(&frames).map(|(time, frame)| (time - times[0], frame.number())).collect())
}

fn check_sound(
    workspace: &Workspace,
    footage: &Footage,
    accepted: &Accepted,
    whole: &Source,
    range: &Range<usize>,
) -> Result<()> {
    let rate = fraction(footage.picture.rate)?;
    let (start, number) = whole.frames[range.start];
    let end = whole.frames.get(range.end).map_or(footage.picture.seconds, |(end, _)| *end);
    let starts = ffprobe(
        workspace.output(),
        &["-select_streams", "v:0", "-show_entries", "stream=start_time:format=start_time"],
    )?;
    let second = |place: &Value| place["start_time"].as_str().and_then(|time| time.parse::<f64>().ok());
    let pictures = second(&starts["streams"][0]).context("the pictures have no start")?;
    // Seconds that sound may come before the pictures.
    let lead = pictures - second(&starts["format"]).context("the file has no start")?;
    let first = f64::from(number) / rate - accepted.muxed_late;
    // Copied sound keeps its time stamps, and with them its gaps.
    let by_time_stamps = ["-af", "aresample=async=1:min_hard_comp=0.01:first_pts=0"];
    check_clicks(workspace.output(), &by_time_stamps, footage, first - lead, end - start).context("the sound")
}
