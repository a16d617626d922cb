//! What smart render costs: CPU seconds of rendering two seconds out of twenty and splicing them in, against ffmpeg
//! decoding and encoding the whole file with the same settings. Seven interleaved pairs; prints the median ratio.
//!
//! ```text
//! cargo run --release -p media --example smart_render_cost
//! ```

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use media::{FrameDecoder, TimedEncoder, YuvFrame, build_index, smart_layout, splice};

const PAIRS: usize = 7;
const THREADS: &str = "2";

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let source = folder.path().join("source.mp4");
    make(&source)?;
    let mut ratios = Vec::new();
    for pair in 1..=PAIRS {
        let smart = measured(|| smart(&source, &folder.path().join("smart.mp4")))?;
        let whole = measured(|| whole(&source, &folder.path().join("whole.mp4")))?;
        println!(
            "pair {pair}: smart {:.2} s CPU, {:.2} s; ffmpeg {:.2} s CPU, {:.2} s",
            smart.0, smart.1, whole.0, whole.1
        );
        ratios.push(whole.0 / smart.0);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median: {:.1} times less CPU", ratios[PAIRS / 2]);
    Ok(())
}

/// Twenty seconds of moving, noisy pictures at 1080p with an IDR every second.
fn make(path: &Path) -> Result<(), Box<dyn Error>> {
    let pictures = "testsrc2=s=1920x1080:r=30:d=20,noise=alls=6:allf=t";
    let sound = "sine=f=440:d=20";
    ffmpeg(
        &[
            "-f", "lavfi", "-i", pictures, "-f", "lavfi", "-i", sound, "-pix_fmt", "yuv420p", "-preset", "fast", "-g",
            "30",
        ],
        path,
    )
}

/// The way of every overlay: decode, change, encode, splice.
fn smart(source: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let index = Arc::new(build_index(source)?);
    let layout = smart_layout(source, &index)?;
    let settings = layout.settings(23, "fast")?;
    // From 7.5 to 9.5 seconds: three groups of pictures.
    let drawn = 225..285;
    let mut rendered = Vec::new();
    for frames in layout.parts(std::slice::from_ref(&drawn), 150) {
        let part = out.with_extension(format!("{}.mp4", frames.start));
        let mut decoder = FrameDecoder::open(source, index.clone(), 1)?;
        let mut encoder = TimedEncoder::create(&part, &settings)?;
        let mut frame = YuvFrame::default();
        for n in frames.clone() {
            decoder.frame(n)?.to_frame(&mut frame)?;
            if drawn.contains(&n) {
                frame.y[..1920 * 200].iter_mut().for_each(|luma| *luma /= 2);
            }
            encoder.push(&frame, index.times.pts()[n], false)?;
        }
        encoder.finish()?;
        rendered.push((frames, part));
    }
    splice(source, &index, &layout, &rendered, out)?;
    Ok(())
}

fn whole(source: &Path, out: &Path) -> Result<(), Box<dyn Error>> {
    let source = source.to_str().ok_or("the path is no text")?;
    ffmpeg(
        &["-i", source, "-c:v", "libx264", "-preset", "fast", "-crf", "23", "-threads", THREADS, "-c:a", "copy"],
        out,
    )
}

fn ffmpeg(arguments: &[&str], out: &Path) -> Result<(), Box<dyn Error>> {
    let status = Command::new("ffmpeg").args(["-nostdin", "-v", "error", "-y"]).args(arguments).arg(out).status()?;
    if status.success() { Ok(()) } else { Err("ffmpeg failed".into()) }
}

/// CPU and wall seconds of some work.
fn measured(work: impl FnOnce() -> Result<(), Box<dyn Error>>) -> Result<(f64, f64), Box<dyn Error>> {
    let (cpu, wall) = (cpu_seconds()?, Instant::now());
    work()?;
    Ok((cpu_seconds()? - cpu, wall.elapsed().as_secs_f64()))
}

/// User and system time of this process and of the children it has waited for: fields 14 to 17 of proc(5)'s `stat`,
/// in hundredths of a second on Linux.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, after_name) = stat.rsplit_once(')').ok_or("stat has no name")?;
    let ticks: Result<Vec<u64>, _> = after_name.split_whitespace().skip(11).take(4).map(str::parse).collect();
    Ok(ticks?.iter().sum::<u64>() as f64 / 100.0)
}
