//! What a copied clip costs: wall seconds and peak memory of cutting ten seconds out of the middle of two hours.
//!
//! ```text
//! cargo run --release -p media --example clip_copy_cost
//! ```

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use media::{build_index, copy_clip};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (piece, source) = (folder.path().join("piece.mp4"), folder.path().join("source.mp4"));
    let pictures = "testsrc2=s=640x360:r=30:d=20";
    let sound = "sine=f=440:d=20";
    let encoded = ["-pix_fmt", "yuv420p", "-preset", "ultrafast", "-bf", "2", "-g", "60"];
    ffmpeg(&[&["-f", "lavfi", "-i", pictures, "-f", "lavfi", "-i", sound], &encoded[..]].concat(), &piece)?;
    let piece = piece.to_str().ok_or("the path is no text")?;
    ffmpeg(&["-stream_loop", "359", "-i", piece, "-c", "copy"], &source)?;

    let index = build_index(&source)?;
    let start = index.len() / 2;
    let begun = Instant::now();
    let copied = copy_clip(&source, &index, start..start + 300, &folder.path().join("clip.mp4"))?;
    println!(
        "{:.0} MB, {} frames; {} frames copied in {:.2} s; peak memory {}",
        std::fs::metadata(&source)?.len() as f64 / 1e6,
        index.len(),
        copied.frames,
        begun.elapsed().as_secs_f64(),
        peak_memory()?
    );
    Ok(())
}

fn ffmpeg(arguments: &[&str], out: &Path) -> Result<(), Box<dyn Error>> {
    let status = Command::new("ffmpeg").args(["-nostdin", "-v", "error", "-y"]).args(arguments).arg(out).status()?;
    if status.success() { Ok(()) } else { Err("ffmpeg failed".into()) }
}

/// The most memory this process has had, as proc(5) tells; reading the index is part of it.
fn peak_memory() -> Result<String, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.ok_or("the kernel does not tell")?.trim().to_owned())
}
