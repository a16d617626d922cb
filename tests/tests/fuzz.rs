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
use touchline_tests::fuzz::damaged;
use touchline_tests::inputs::list;

/// Number of files, 200 where it is not set (`make soak` sets more), and the number of the first.
const FILES: &str = "TOUCHLINE_FUZZ_FILES";
const FIRST: &str = "TOUCHLINE_FUZZ_FIRST";

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

#[test]
fn damaged_files_are_rendered_or_refused() -> Result<()> {
    let number = |name: &str, default| std::env::var(name).map_or(Ok(default), |text| text.parse::<u64>());
    let (files, first) = (number(FILES, 200)?, number(FIRST, 0)?);
    let folder = tempfile::tempdir()?;
    let seeds = seeds(folder.path())?;
    let (next, found) = (AtomicU64::new(first), Mutex::new((Vec::new(), 0, 0)));
    thread::scope(|scope| {
        for worker in 0..AT_ONCE {
            let (seeds, next, found) = (&seeds, &next, &found);
            let folder = folder.path().join(format!("worker-{worker}"));
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= first + files {
                        return;
                    }
                    let (done, seed, bytes) = damaged(seeds, number);
                    let name = SEEDS[seed];
                    let outcome = Desk::new(&folder, name, &bytes).and_then(|desk| desk.check(number));
                    let mut found = found.lock().expect("no thread panics");
                    match outcome {
                        Ok(Outcome { accepted, rendered }) => {
                            found.1 += u64::from(accepted);
                            found.2 += u64::from(rendered);
                        }
                        Err(error) => found.0.push(format!("file {number}, {name}, {done}: {error:#}")),
                    }
                }
            });
        }
    });
    let (faults, accepted, rendered) = found.into_inner()?;
    println!("{files} files: {accepted} accepted, {rendered} of them rendered");
    ensure!(faults.is_empty(), "{} of {files} files fail:\n{}", faults.len(), faults.join("\n"));
    // Damage that refuses everything, or nothing, would try little.
    ensure!(accepted * 4 > files && accepted < files, "{accepted} of {files} files are accepted");
    Ok(())
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
struct Desk {
    input: PathBuf,
    output: PathBuf,
    spec: PathBuf,
    scratch: PathBuf,
}

impl Desk {
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
        if !told_well(&probed).context("probe")? {
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
        let rendered = told_well(&run).context("render");
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
            .arg(touchline_tests::binary()?)
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
fn told_well(output: &Output) -> Result<bool> {
    let told = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => {
            ensure!(told.is_empty(), "it succeeds and says {told}");
            Ok(true)
        }
        Some(3) => {
            ensure!(told.lines().count() == 1 && output.stdout.is_empty(), "it refuses with {told:?}");
            Ok(false)
        }
        _ => bail!("{}: {told}", output.status),
    }
}
