//! `touchline render` on the command line.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;

/// Renders `input` with a simulated device, which infers nothing, and returns the report. The spec is written beside
/// `output`.
///
/// # Errors
/// With the program's own words when it fails.
pub fn render(kind: &str, input: &Path, spec: &Value, output: &Path) -> Result<Value> {
    let spec_file = output.with_extension("json");
    std::fs::write(&spec_file, spec.to_string())?;
    let run = Command::new(crate::binary()?)
        .args(["render", kind, "--devices", "sim:0", "--input"])
        .arg(input)
        .arg("--spec")
        .arg(&spec_file)
        .arg("--output")
        .arg(output)
        .output()?;
    ensure!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    Ok(serde_json::from_slice(&run.stdout)?)
}

/// The lines of stderr but those of progress, which slow renders print every few seconds.
pub fn without_progress(stderr: &str) -> Vec<&str> {
    stderr.lines().filter(|line| !is_progress(line)).collect()
}

/// Whether a line of stderr has the progress of a render.
pub fn is_progress(line: &str) -> bool {
    line.contains(" %  ") && line.contains(" frames  ")
}
