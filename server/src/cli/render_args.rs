//! The arguments of a render, which all kinds of exports share.

use std::path::PathBuf;

use clap::Args;
use config::DeviceList;

// Without a doc comment: clap would show it in the place of what each kind says about itself.
#[derive(Args)]
pub struct RenderArgs {
    /// The video to read
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// What to render, as JSON
    #[arg(long, value_name = "FILE.json")]
    pub spec: PathBuf,
    /// Where the result goes; an existing file is replaced once the new one is whole
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// The devices to use: auto, or cpu:N, cuda:N, sim:N with commas between
    #[arg(long, value_name = "LIST")]
    pub devices: Option<DeviceList>,
    /// Frames of a batch [default: 4 on a GPU, 1 elsewhere]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub batch: Option<u16>,
    /// What a simulated device waits for each frame
    #[arg(long, value_name = "MS", value_parser = milliseconds)]
    pub sim_frame_ms: Option<f64>,
    /// Write what every thread does into a file for https://ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}

fn milliseconds(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().map_err(|error| error.to_string())?;
    if (0.0..=60_000.0).contains(&value) { Ok(value) } else { Err("must be 0 to 60000 milliseconds".to_owned()) }
}
