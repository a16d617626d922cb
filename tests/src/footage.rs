//! Footage whose frames carry their number and whose sound clicks at known times, and how to read both back.
//!
//! Made and read with the ffmpeg program and not with Touchline's own code, so that a fault cannot hide on both sides.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::ffmpeg::ffmpeg;

/// Size of stamped footage, in pixels.
pub const WIDTH: u32 = 640;
pub const HEIGHT: u32 = 360;
/// Bits of a stamp: numbers up to 4095.
const BITS: u32 = 12;
/// A bit is a block of this size, white for 1; the blocks stand in one row.
const BLOCK: u32 = 40;
const LEFT: u32 = 80;
const TOP: u32 = 160;

/// Sample rate of the sound that [`clicks`] reads.
pub const SAMPLE_RATE: u32 = 48_000;

/// Makes `seconds` of stamped footage at `rate` (such as `30000/1001`). `select`: an expression of ffmpeg's select
/// filter that leaves frames out before they are numbered, which makes the rate variable. `encode` says how it is
/// stored. The sound clicks on each whole second.
pub fn stamped(path: &Path, rate: &str, seconds: u32, select: Option<&str>, encode: &[&str]) -> Result<()> {
    let mut filters = vec![format!("color=black:size={WIDTH}x{HEIGHT}:rate={rate}:duration={seconds}")];
    filters.extend(select.map(|expression| format!("select='{expression}'")));
    for bit in 0..BITS {
        let (x, divisor) = (LEFT + bit * BLOCK, 1u32 << bit);
        filters.push(format!(
            "drawbox=x={x}:y={TOP}:w={BLOCK}:h={BLOCK}:color=white:t=fill:enable='mod(floor(n/{divisor}),2)'"
        ));
    }
    let picture = filters.join(",");
    // A click: one millisecond of full level at each whole second.
    let sound = format!("aevalsrc='if(lt(mod(t,1),0.001),0.9,0)':s={SAMPLE_RATE}:d={seconds}");
    let arguments = ["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &sound, "-fps_mode", "passthrough"];
    let mut all: Vec<&str> = arguments.to_vec();
    all.extend(["-pix_fmt", "yuv420p"]);
    all.extend(encode);
    ffmpeg(all.into_iter().map(OsStr::new).chain([path.as_os_str()]))
}

/// The number each frame of a video carries, in display order, whatever size it was scaled to.
pub fn stamps(path: &Path) -> Result<Vec<u32>> {
    stamps_of(path, &[])
}

/// The number the first frame of a video carries.
pub fn first_stamp(path: &Path) -> Result<u32> {
    stamps_of(path, &["-frames:v", "1"])?.first().copied().context("no frame")
}

fn stamps_of(path: &Path, frames: &[&str]) -> Result<Vec<u32>> {
    let scale = format!("scale={WIDTH}:{HEIGHT}:flags=bilinear");
    let picture = ["-map", "0:v:0", "-fps_mode", "passthrough", "-vf", &scale, "-f", "rawvideo", "-pix_fmt", "gray"];
    let pixels = decoded(path, &[&picture, frames].concat())?;
    let frame = (WIDTH * HEIGHT) as usize;
    ensure!(pixels.len() % frame == 0, "{} decodes to a broken frame", path.display());
    Ok(pixels.chunks(frame).map(read_stamp).collect())
}

fn read_stamp(luma: &[u8]) -> u32 {
    let bit_at = |bit: u32| {
        let (x, y) = (LEFT + bit * BLOCK + BLOCK / 2, TOP + BLOCK / 2);
        u32::from(luma[(y * WIDTH + x) as usize] > 128)
    };
    (0..BITS).map(|bit| bit_at(bit) << bit).sum()
}

/// When each click of a file's sound begins, in seconds of its own presentation time.
pub fn clicks(path: &Path) -> Result<Vec<f64>> {
    let rate = SAMPLE_RATE.to_string();
    let bytes = decoded(path, &["-map", "0:a:0", "-f", "f32le", "-ac", "1", "-ar", &rate])?;
    let samples: Vec<f32> =
        bytes.chunks_exact(4).map(|raw| f32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]])).collect();
    let mut found = Vec::new();
    let mut quiet_until = 0;
    for (n, sample) in samples.iter().enumerate() {
        if n >= quiet_until && sample.abs() > 0.35 {
            found.push(n as f64 / f64::from(SAMPLE_RATE));
            quiet_until = n + SAMPLE_RATE as usize / 4;
        }
    }
    Ok(found)
}

/// Width and height of a file's picture, in pixels.
pub fn size(path: &Path) -> Result<(u32, u32)> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0", "-show_entries", "stream=width,height"])
        .arg(path)
        .output()
        .context("running ffprobe; install it with scripts/setup")?;
    let text = String::from_utf8(output.stdout)?;
    let (width, height) = text.trim().split_once(',').with_context(|| format!("ffprobe says {text:?}"))?;
    Ok((width.parse()?, height.parse()?))
}

/// When a stream (such as `v:0`) starts, in seconds of the file's presentation time.
pub fn start(path: &Path, stream: &str) -> Result<f64> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", stream, "-of", "csv=p=0", "-show_entries", "stream=start_time"])
        .arg(path)
        .output()
        .context("running ffprobe; install it with scripts/setup")?;
    Ok(String::from_utf8(output.stdout)?.trim().trim_end_matches(',').parse()?)
}

/// Presentation times of a video's frames in ascending order, in ticks, and the length of a tick as a fraction of a
/// second.
pub fn frame_times(path: &Path) -> Result<(Vec<i64>, (i64, i64))> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0"])
        .args(["-show_entries", "frame=best_effort_timestamp:stream=time_base"])
        .arg(path)
        .output()
        .context("running ffprobe; install it with scripts/setup")?;
    let text = String::from_utf8(output.stdout)?;
    let (mut times, mut tick) = (Vec::new(), None);
    for line in text.lines().map(|line| line.trim_end_matches(',')) {
        match line.split_once('/') {
            Some((numerator, denominator)) => tick = Some((numerator.parse()?, denominator.parse()?)),
            None if !line.is_empty() => times.push(line.parse()?),
            None => {}
        }
    }
    times.sort_unstable();
    Ok((times, tick.context("no time base")?))
}

fn decoded(path: &Path, arguments: &[&str]) -> Result<Vec<u8>> {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-i"])
        .arg(path)
        .args(arguments)
        .arg("-")
        .stdin(Stdio::null())
        .output()
        .context("running ffmpeg; install it with scripts/setup")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && said.is_empty(), "decoding {}: {said}", path.display());
    Ok(output.stdout)
}
