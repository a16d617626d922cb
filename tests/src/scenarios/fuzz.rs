//! Random damage: no file makes the program crash, hang, take the machine's memory or leave anything behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{Finding, Running};
use crate::cli::without_progress;
use crate::damage::damaged;
use crate::inputs::list;

/// Which files are tried; file `n` is the same in every run.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Number of the first.
    pub first: u64,
    /// How many.
    pub files: u64,
}

impl Size {
    pub const TEST: Self = Self { first: 0, files: 200 };
    pub const SOAK: Self = Self { first: 0, files: 2000 };
}

/// Files that are worked on at the same time.
const AT_ONCE: u64 = 2;
/// One accepted file in so many is rendered, too.
const RENDERED: u64 = 4;
/// A program that runs longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Address space of a program, in KiB.
const MEMORY: u32 = 4 << 20;

/// Files of the list that are damaged: every container, and the codecs that cameras and browsers use.
const SEEDS: [&str; 18] = [
    "25.mp4",
    "faststart.mp4",
    "fragmented.mp4",
    "rotated-90.mp4",
    "cut.mp4",
    "hevc-hvc1.mp4",
    "av1.mp4",
    "prores.mov",
    "24.mkv",
    "opus.mkv",
    "vp8.webm",
    "vp9.webm",
    "late.ts",
    "interlaced-mpeg2.ts",
    "hevc.ts",
    "asp.avi",
    "mjpeg.avi",
    "h264.avi",
];

/// Probes every file, and renders some of those that are accepted.
///
/// # Errors
/// When the undamaged files cannot be made.
pub fn run(size: Size) -> Running {
    Box::pin(measure(size))
}

async fn measure(size: Size) -> Result<Vec<Finding>> {
    tokio::task::spawn_blocking(move || try_all(size)).await?
}

/// What came of all files.
#[derive(Default)]
struct Tried {
    faults: Vec<String>,
    accepted: u64,
    rendered: u64,
}

fn try_all(Size { first, files }: Size) -> Result<Vec<Finding>> {
    let folder = tempfile::tempdir()?;
    let seeds = seeds(folder.path())?;
    let (next, tried) = (AtomicU64::new(first), Mutex::new(Tried::default()));
    thread::scope(|scope| {
        for worker in 0..AT_ONCE {
            let (seeds, next, tried) = (&seeds, &next, &tried);
            let folder = folder.path().join(format!("worker-{worker}"));
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= first + files {
                        return;
                    }
                    try_one(seeds, &folder, number, tried);
                }
            });
        }
    });
    let Tried { faults, accepted, rendered } = tried.into_inner()?;
    let found = match faults.len() {
        0 => format!("{accepted} accepted, {rendered} of them rendered, the others refused in one line"),
        count => format!("{count} faults: {}", faults.join("; ")),
    };
    let asked = "accepted or refused with a reason; no crash, no hang, nothing left behind";
    let what = format!("{files} randomly damaged files of {} kinds", SEEDS.len());
    // Damage that refuses everything, or nothing, would try little.
    let selective = accepted * 4 > files && accepted < files;
    Ok(vec![
        Finding::new(what, asked, found, faults.is_empty()),
        Finding::new(
            "how selective the damage is",
            "more than a quarter of the files accepted, not all",
            format!("{accepted} of {files}"),
            selective,
        ),
    ])
}

fn try_one(seeds: &[Vec<u8>], folder: &Path, number: u64, tried: &Mutex<Tried>) {
    let (done, seed, bytes) = damaged(seeds, number);
    let name = SEEDS[seed];
    let outcome = Workspace::new(folder, name, &bytes).and_then(|workspace| workspace.check(number));
    let mut tried = tried.lock().expect("no thread panics");
    match outcome {
        Ok(Outcome { accepted, rendered }) => {
            tried.accepted += u64::from(accepted);
            tried.rendered += u64::from(rendered);
        }
        Err(error) => tried.faults.push(format!("file {number}, {name}, {done}: {error:#}")),
    }
}

fn seeds(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let cases = list::all();
    let seed = |name: &&str| {
        let case = cases.iter().find(|case| case.file == *name).with_context(|| format!("no case {name}"))?;
        let path = case.make(folder)?;
        let bytes = fs::read(&path)?;
        fs::remove_file(path)?;
        Ok(bytes)
    };
    SEEDS.iter().map(seed).collect()
}

struct Outcome {
    accepted: bool,
    rendered: bool,
}

/// A file, and the only folder in which the program may leave something.
struct Workspace {
    input: PathBuf,
    output: PathBuf,
    spec: PathBuf,
    scratch: PathBuf,
}

impl Workspace {
    fn new(folder: &Path, name: &str, bytes: &[u8]) -> Result<Self> {
        let scratch = folder.join("scratch");
        fs::create_dir_all(&scratch)?;
        let input = folder.join(name);
        fs::write(&input, bytes)?;
        Ok(Self { input, output: folder.join("out.mp4"), spec: folder.join("spec.json"), scratch })
    }

    fn check(&self, number: u64) -> Result<Outcome> {
        let checked = self.probe_and_render(number);
        fs::remove_file(&self.input)?;
        let left = fs::read_dir(&self.scratch)?.count();
        if left > 0 {
            fs::remove_dir_all(&self.scratch)?;
        }
        let checked = checked?;
        ensure!(left == 0, "{left} files are left in the temporary folder");
        Ok(checked)
    }

    fn probe_and_render(&self, number: u64) -> Result<Outcome> {
        let probed = self.run(&["probe".as_ref(), self.input.as_os_str()])?;
        if !accepted(&probed).context("probe")? {
            return Ok(Outcome { accepted: false, rendered: false });
        }
        if !number.is_multiple_of(RENDERED) {
            return Ok(Outcome { accepted: true, rendered: false });
        }
        let facts: Value = serde_json::from_slice(&probed.stdout)?;
        let seconds = facts["seconds"].as_f64().context("no seconds")?;
        let spec = json!({
            "clips": [{"start": 0.0, "end": seconds.min(1.0)}],
            "upscale": {"mode": "lanczos"}, "detect": {"rule": "none"}, "output": {"width": 90, "height": 160},
        });
        fs::write(&self.spec, spec.to_string())?;
        let [render, framing, devices, sim, input, spec, output] =
            ["render", "framing", "--devices", "sim:0", "--input", "--spec", "--output"].map(AsRef::as_ref);
        let (file, specification, result) = (self.input.as_os_str(), self.spec.as_os_str(), self.output.as_os_str());
        let run = self.run(&[render, framing, devices, sim, input, file, spec, specification, output, result])?;
        let rendered = accepted(&run).context("render");
        let written = self.output.exists();
        if written {
            fs::remove_file(&self.output)?;
        }
        let rendered = rendered?;
        ensure!(written == rendered, "rendered: {rendered}, an output file: {written}");
        Ok(Outcome { accepted: true, rendered })
    }

    /// Runs the program with little memory, until it ends or patience does.
    fn run(&self, arguments: &[&std::ffi::OsStr]) -> Result<Output> {
        let mut child = Command::new("sh")
            .args(["-c", &format!("ulimit -v {MEMORY}; exec \"$@\""), "sh"])
            .arg(crate::binary()?)
            .args(arguments)
            .env("TMPDIR", &self.scratch)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting the program")?;
        let began = Instant::now();
        while child.try_wait()?.is_none() {
            if began.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                bail!("it hangs");
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(child.wait_with_output()?)
    }
}

/// Whether the program accepted a file; an error when it ended in any way but success or a refusal in one line.
fn accepted(output: &Output) -> Result<bool> {
    let stderr = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => {
            ensure!(without_progress(&stderr).is_empty(), "it succeeds and says {stderr}");
            Ok(true)
        }
        Some(3) => {
            ensure!(without_progress(&stderr).len() == 1 && output.stdout.is_empty(), "it refuses with {stderr:?}");
            Ok(false)
        }
        _ => bail!("{}: {stderr}", output.status),
    }
}
