//! `touchline probe`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
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

pub fn run(args: &ProbeArgs) -> Result<(), CliError> {
    media::init();
    let spinner = progress::spinner("decoding the whole file");
    let scanned = media::scan(&args.file);
    spinner.finish_and_clear();
    let scanned = scanned.map_err(|error| refused(&args.file, error))?;

    let mut description = json!({ "file": args.file.display().to_string() });
    let scanned = serde_json::to_value(&scanned).context("describing the file")?;
    if let (Value::Object(description), Value::Object(scanned)) = (&mut description, scanned) {
        description.extend(scanned);
    }
    super::print_json(&description)
}

/// A file that Touchline refuses has an exit code of its own; one that is not there was named wrongly.
pub fn refused(file: &Path, error: media::MediaError) -> CliError {
    let name = file.display();
    match error {
        media::MediaError::Refused { detail, .. } => CliError::Refused(format!("{name} is refused: {detail}")),
        _ if !file.exists() => CliError::Usage(format!("there is no file {name}")),
        error => CliError::failed(name, error),
    }
}
