//! Probes and renders one file through the program and checks every frame and click of the result.
//!
//! Sources and results are read back with the ffmpeg programs, not with Touchline's own code.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::case::{Accepted, Case, Expect, Footage, Origin, click_times};
use super::kinds::{self, Kind};
use super::picture::{self, Frame};
use crate::cli::without_progress;
use crate::footage;

/// Seconds by which a click may be heard off its moment.
const IN_TIME: f64 = 0.003;
/// Levels between even and odd lines of a picture whose fields were parted.
const MOST_COMBING: f64 = 40.0;

/// Checks a case in a folder of its own, as framing and as these kinds, and returns its outcome in words.
///
/// # Errors
/// When anything is not as expected.
pub fn outcome(case: &Case, kinds: &[Kind], folder: &Path) -> Result<String> {
    let input = case.make(folder)?;
    let workspace = Workspace::new(folder, input)?;
    match &case.expect {
        Expect::Refused(code, says) => workspace.refused(*code, says),
        Expect::Accepted(accepted) => match &case.origin {
            Origin::Footage(footage) => {
                let outcome = workspace.accepted(footage, accepted)?;
                // Where frames are damaged, which of them a decoder shows is its own choice.
                let known = accepted.unreadable == 0 && (accepted.warnings.is_empty() || accepted.by_number);
                for kind in kinds.iter().filter(|_| known) {
                    kinds::check(&workspace, footage, accepted, *kind).with_context(|| format!("{kind:?}"))?;
                }
                Ok(outcome)
            }
            _ => anyhow::bail!("only footage can be compared"),
        },
    }
}

/// Where one file is worked on.
pub struct Workspace {
    input: PathBuf,
    output: PathBuf,
    spec: PathBuf,
    scratch: PathBuf,
}

impl Workspace {
    fn new(folder: &Path, input: PathBuf) -> Result<Self> {
        let scratch = folder.join("scratch");
        std::fs::create_dir(&scratch)?;
        Ok(Self { input, output: folder.join("rendered.mp4"), spec: folder.join("spec.json"), scratch })
    }

    pub fn input(&self) -> &Path {
        &self.input
    }

    /// Where the last render's file is.
    pub fn output(&self) -> &Path {
        &self.output
    }

    fn touchline(&self) -> Result<Command> {
        let mut command = Command::new(crate::binary()?);
        command.env("TMPDIR", &self.scratch).stdin(Stdio::null());
        Ok(command)
    }

    fn probe(&self) -> Result<Output> {
        self.touchline()?.arg("probe").arg(&self.input).output().context("running touchline probe")
    }

    /// Renders the input as `kind`; nothing may be left in the temporary folder.
    pub fn render(&self, kind: &str, spec: &Value) -> Result<Output> {
        std::fs::write(&self.spec, spec.to_string())?;
        if self.output.exists() {
            std::fs::remove_file(&self.output)?;
        }
        let mut command = self.touchline()?;
        command.args(["render", kind, "--devices", "sim:0", "--input"]).arg(&self.input);
        command.arg("--spec").arg(&self.spec).arg("--output").arg(&self.output);
        let done = command.output().context("running touchline render")?;
        let left = std::fs::read_dir(&self.scratch)?.count();
        ensure!(left == 0, "{left} files are left in the temporary folder");
        Ok(done)
    }

    fn refused(&self, code: i32, says: &str) -> Result<String> {
        let spec = framing(1.0, (320, 180), 30);
        let reason = self.reason(&self.probe()?, code, says)?;
        self.reason(&self.render("framing", &spec)?, code, says)?;
        ensure!(!self.output.exists(), "a refused input leaves an output");
        Ok(format!("refused, exit code {code}: {reason}"))
    }

    /// What a refusal says after the file's name.
    fn reason(&self, output: &Output, code: i32, says: &str) -> Result<String> {
        let stderr = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(code), "{}, not exit code {code}: {stderr}", output.status);
        let lines = without_progress(&stderr);
        ensure!(lines.len() == 1 && stderr.contains(says), "not one line with {says:?}: {stderr}");
        let name = self.input.file_name().unwrap_or_default().to_string_lossy();
        let folder = format!("{}/", self.input.parent().unwrap_or(Path::new("")).display());
        let line = lines[0].trim_start_matches("touchline: ").replace(&folder, "");
        let refusal = format!("{name} is refused: ");
        Ok(line.trim_start_matches("error: ").trim_start_matches(&refusal).to_owned())
    }

    fn accepted(&self, footage: &Footage, accepted: &Accepted) -> Result<String> {
        let probed = json_of(&self.probe()?).context("probe")?;
        let size = (probed["width"].as_u64(), probed["height"].as_u64());
        let wanted_size = (Some(accepted.size.0.into()), Some(accepted.size.1.into()));
        ensure!(size == wanted_size, "probe says {size:?}, not {wanted_size:?}");
        let seconds = probed["seconds"].as_f64().context("probe gives no seconds")?;
        let found = probed["frames"].as_u64().context("probe gives no frames")? as usize;
        let warnings = check_warnings(&probed["warnings"], &accepted.warnings).context("probe")?;

        let even = (accepted.size.0 & !1, accepted.size.1 & !1);
        let report = json_of(&self.render("framing", &framing(seconds, even, accepted.fps))?).context("render")?;
        check_warnings(&report["warnings"], &accepted.warnings).context("render")?;
        check_stored(&self.output, even)?;

        let source = source(footage, accepted, &self.input)?;
        let frames = picture::frames(&self.output, &[])?;
        let count = (seconds * f64::from(accepted.fps) + 0.5).floor().max(1.0) as usize;
        ensure!(frames.len() == count, "{} frames, not {count}", frames.len());
        if accepted.warnings.is_empty() {
            ensure!(found == source.frames.len(), "probe counts {found} frames, ffprobe {}", source.frames.len());
        }
        compare(&frames, &source, accepted)?;
        check_appearance(&frames, footage, accepted)?;
        let (first, last) = (source.frames[0].1, source.frames[source.frames.len() - 1].1);
        if let Some(shown) = accepted.shown {
            ensure!(shown == (first, last), "the source has frames {first} to {last}, not {shown:?}");
        }

        let mut outcome = format!("{}x{}", accepted.size.0, accepted.size.1);
        if accepted.shown.is_some() {
            outcome.push_str(&format!(", frames {first}-{last}"));
        }
        outcome.push_str(match accepted.unreadable {
            0 => ", all right",
            _ => ", all right but the damaged",
        });
        outcome.push_str(if footage.sound.is_none() {
            ensure!(!has_sound(&self.output)?, "a silent source has sound now");
            "; no sound"
        } else if accepted.heard {
            let rate = fraction(footage.picture.rate)?;
            check_clicks(&self.output, &[], footage, f64::from(first) / rate - accepted.muxed_late, seconds)?;
            "; sound in time"
        } else {
            ensure!(has_sound(&self.output)?, "the sound is lost");
            "; with sound"
        });
        for warning in warnings {
            outcome.push_str(&format!("; warning: {warning}"));
        }
        Ok(outcome)
    }
}

/// A whole source as one clip, without any model.
pub fn framing(seconds: f64, (width, height): (u32, u32), fps: u32) -> Value {
    json!({
        "kind": "framing", "clips": [{"start": 0.0, "end": seconds}],
        "upscale": {"mode": "lanczos"}, "detect": {"rule": "none"},
        "output": {"width": width, "height": height, "fps": fps, "preset": "veryfast", "crf": 18},
    })
}

pub fn json_of(output: &Output) -> Result<Value> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {stderr}", output.status);
    // A machine that does something else makes renders long enough for lines of progress.
    ensure!(without_progress(&stderr).is_empty(), "stderr: {stderr}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Warnings with `N` for their numbers, which depend on encoders.
fn check_warnings(warnings: &Value, wanted: &[&str]) -> Result<Vec<String>> {
    let warnings: Vec<String> = serde_json::from_value(warnings.clone())?;
    let as_wanted = wanted.len() == warnings.len()
        && wanted.iter().all(|words| warnings.iter().any(|warning| warning.contains(words)));
    ensure!(as_wanted, "warnings {warnings:?}, where {wanted:?} are due");
    let numberless = |text: &String| {
        let words = text.split(' ').map(|word| if word.parse::<u64>().is_ok() { "N" } else { word });
        words.collect::<Vec<_>>().join(" ")
    };
    Ok(warnings.iter().map(numberless).collect())
}

/// The stored form that plays everywhere.
fn check_stored(output: &Path, (width, height): (u32, u32)) -> Result<()> {
    let entries = "stream=codec_name,pix_fmt,width,height,field_order,color_range,color_space,color_transfer,color_primaries:\
stream_side_data=rotation";
    let stored = ffprobe(output, &["-select_streams", "v:0", "-show_entries", entries])?;
    let stream = &stored["streams"][0];
    for (field, wanted) in [
        ("codec_name", json!("h264")),
        ("pix_fmt", json!("yuv420p")),
        ("width", json!(width)),
        ("height", json!(height)),
        ("field_order", json!("progressive")),
        ("color_range", json!("tv")),
        ("color_space", json!("bt709")),
        ("color_transfer", json!("bt709")),
        ("color_primaries", json!("bt709")),
    ] {
        ensure!(stream[field] == wanted, "{field} is {}, not {wanted}", stream[field]);
    }
    ensure!(stream["side_data_list"].is_null(), "the result carries {}", stream["side_data_list"]);
    Ok(())
}

fn has_sound(output: &Path) -> Result<bool> {
    let streams = ffprobe(output, &["-select_streams", "a", "-show_entries", "stream=index"])?;
    Ok(streams["streams"].as_array().is_some_and(|streams| !streams.is_empty()))
}

pub fn ffprobe(path: &Path, arguments: &[&str]) -> Result<Value> {
    let output = Command::new("ffprobe")
        .args(["-v", "quiet", "-of", "json"])
        .args(arguments)
        .arg(path)
        .output()
        .context("running ffprobe; install it with scripts/setup")?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The frames of a source.
pub struct Source {
    /// Seconds after the first frame, and number.
    pub frames: Vec<(f64, u32)>,
    /// Seconds of a tick of its clock.
    pub tick: f64,
}

/// A source as the ffmpeg programs see it.
pub fn source(footage: &Footage, accepted: &Accepted, input: &Path) -> Result<Source> {
    let rate = fraction(footage.picture.rate)?;
    let entries = ["-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp:stream=time_base"];
    let probed = ffprobe(input, &entries)?;
    let tick = fraction(probed["streams"][0]["time_base"].as_str().context("no time base")?)?;
    if let (Some((first, last)), true) = (accepted.shown, accepted.unreadable > 0 || accepted.by_number) {
        // ffmpeg shows another part of what is damaged, or at other times; each frame's time is known all the same.
        let frames = (first..=last).map(|number| (f64::from(number - first) / rate, number)).collect();
        return Ok(Source { frames, tick });
    }
    let frames = picture::frames(input, &[])?;
    let numbers = frames.iter().map(|frame| frame.number().context("a frame of the source has no number"));
    let numbers = numbers.collect::<Result<Vec<_>>>()?;
    let stamps = probed["frames"].as_array().context("no frames")?.iter();
    let stamps: Option<Vec<i64>> = stamps.map(|frame| frame["best_effort_timestamp"].as_i64()).collect();
    let times: Vec<f64> = match stamps {
        Some(mut stamps) => {
            stamps.sort_unstable();
            stamps.iter().map(|stamp| (stamp - stamps[0]) as f64 * tick).collect()
        }
        // Without time stamps there is only the rate.
        None => (0..numbers.len()).map(|n| n as f64 / rate).collect(),
    };
    ensure!(times.len() == numbers.len(), "{} times for {} frames", times.len(), numbers.len());
    Ok(Source { frames: times.into_iter().zip(numbers).collect(), tick })
}

/// Every frame against the one of the greatest time at or before its own, within half a tick and at most a millisecond.
fn compare(frames: &[Frame], source: &Source, accepted: &Accepted) -> Result<()> {
    let mut wrong = Vec::new();
    for (n, frame) in frames.iter().enumerate() {
        let time = n as f64 / f64::from(accepted.fps) + (source.tick / 2.0).min(0.001) + 1e-9;
        let at_or_before = source.frames.partition_point(|(at, _)| *at <= time);
        let wanted = source.frames[at_or_before.saturating_sub(1)].1;
        let seen = frame.number();
        if seen != Some(wanted) {
            wrong.push(format!("{n}: {seen:?} for {wanted}"));
        }
    }
    ensure!(wrong.len() <= accepted.unreadable, "{} wrong frames: {}", wrong.len(), wrong.join(", "));
    Ok(())
}

/// Upright, in its colours, and not woven.
fn check_appearance(frames: &[Frame], footage: &Footage, accepted: &Accepted) -> Result<()> {
    let grey = footage.picture.format.starts_with("gray");
    let wrong: Vec<_> = frames.iter().filter_map(|f| f.wrong_colour(grey, accepted.colour_within)).collect();
    ensure!(wrong.len() <= accepted.unreadable, "{} frames look wrong: {}", wrong.len(), wrong[0]);
    if footage.picture.woven.is_some() {
        let most = frames.iter().map(Frame::combing).fold(0.0, f64::max);
        ensure!(most <= MOST_COMBING, "lines differ by {most:.0} levels: the fields were not parted");
    }
    Ok(())
}

/// Clicks against the moments that the picture shows; `first` is the moment of the first frame, `decoding` arguments for
/// ffmpeg.
pub fn check_clicks(output: &Path, decoding: &[&str], footage: &Footage, first: f64, seconds: f64) -> Result<()> {
    let moments = click_times(footage.picture.seconds).into_iter().map(|time| time + footage.sound_delay - first);
    // Near the ends a click may be cut in two.
    let inside = |time: &f64| *time > 0.03 && time + 0.03 < seconds;
    let wanted: Vec<f64> = moments.filter(inside).collect();
    let heard: Vec<f64> = media::testing::find_clicks(&sound(output, decoding)?).into_iter().filter(inside).collect();
    let in_time = heard.len() == wanted.len() && heard.iter().zip(&wanted).all(|(h, w)| (h - w).abs() <= IN_TIME);
    ensure!(in_time, "clicks are heard at {heard:.4?}, not at {wanted:.4?}");
    Ok(())
}

fn sound(path: &Path, decoding: &[&str]) -> Result<Vec<f32>> {
    let rate = footage::SAMPLE_RATE.to_string();
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-i"])
        .arg(path)
        // Of several tracks the one that players choose.
        .arg("-vn")
        .args(decoding)
        .args(["-f", "f32le", "-ac", "1", "-ar", &rate, "-"])
        .output()
        .context("running ffmpeg; install it with scripts/setup")?;
    Ok(output.stdout.chunks_exact(4).map(|raw| f32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]])).collect())
}

/// `30000/1001` as a number.
pub fn fraction(text: &str) -> Result<f64> {
    let (numerator, denominator) = text.split_once('/').unwrap_or((text, "1"));
    Ok(numerator.parse::<f64>()? / denominator.parse::<f64>()?)
}
