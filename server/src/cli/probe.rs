//! `touchline probe`.

use std::path::{Path, PathBuf};

use actors::processes::error::ProcessError;
use actors::processes::owner::RenderProcesses;
use clap::Args;
use config::Settings;
use serde_json::{Value, json};

use super::error::CliError;
use super::progress;

/// Decodes every frame and prints one JSON object: size, rate, duration, colour, sound, frames and warnings.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct ProbeArgs {
    /// The video file
    file: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  touchline probe match.mp4
  touchline probe match.mp4 | jq .warnings

Exit code 3: the file is refused, and the error says why.";

pub fn run(args: &ProbeArgs, settings: &Settings) -> Result<(), CliError> {
    let spinner = progress::spinner("decoding the whole file");
    let scanned = in_process(settings, async |processes| processes.scan(&args.file).await);
    spinner.finish_and_clear();
    let scanned = scanned?.map_err(|error| refused(&args.file, error))?;

    let mut description = json!({ "file": args.file.display().to_string() });
    if let (Value::Object(description), Value::Object(scanned)) = (&mut description, scanned) {
        description.extend(scanned);
    }
    super::print_json(&description)
}

/// Reads a file in a render process, before there is a node.
pub fn in_process<T>(settings: &Settings, read: impl AsyncFnOnce(&RenderProcesses) -> T) -> Result<T, CliError> {
    let processes = RenderProcesses::new(&settings.processes);
    Ok(actix::System::new().block_on(read(&processes)))
}

/// A file that Touchline refuses has an exit code of its own; one that is not there was named wrongly.
pub fn refused(file: &Path, error: ProcessError) -> CliError {
    let name = file.display();
    match error.refusal() {
        Some((_, detail)) => CliError::Refused(format!("{name} is refused: {detail}")),
        None if !file.exists() => CliError::Usage(format!("there is no file {name}")),
        None => CliError::failed(name, error),
    }
}
