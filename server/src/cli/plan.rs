//! `touchline plan`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use config::Settings;
use edits::planner::{Job, Plan, Policy, Row};
use serde_json::json;

use super::error::CliError;
use super::print_json;

/// Compares 1, 2, 4, … devices for a job: wall time, device seconds and cost, and which the policy chooses.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct PlanArgs {
    /// Frames to render
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    frames: u64,
    /// Device time of one frame, in milliseconds
    #[arg(long, value_name = "MS", value_parser = not_negative)]
    frame_ms: f64,
    /// Start-up of each worker, in seconds; 0 for devices that are warm
    #[arg(long, value_name = "S", default_value = "0", value_parser = not_negative)]
    startup_s: f64,
    /// Transfer to each worker, in seconds; 0 on one node
    #[arg(long, value_name = "S", default_value = "0", value_parser = not_negative)]
    transfer_s: f64,
    /// Price of a device second; without it the settings' planner.price_per_device_second
    #[arg(long, value_name = "P", value_parser = not_negative)]
    price: Option<f64>,
    /// Most devices to consider
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    max_devices: u32,
    /// What counts
    #[arg(long, value_enum, default_value = "balanced")]
    policy: PolicyArg,
    /// JSON array of measured rows, {"devices", "wall_seconds", "device_seconds", "cost"}, which override the formula
    #[arg(long, value_name = "FILE")]
    measured: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  touchline plan --frames 449 --frame-ms 668 --startup-s 10
  touchline plan --frames 449 --frame-ms 668 --measured rows.json --policy fastest
  touchline plan --frames 2677 --frame-ms 13.3 --startup-s 10 --price 0.000164 --json

With s seconds of start-up and transfer, N frames of f seconds on k devices take s + N·f/k seconds of wall time and
k·s + N·f device seconds. `balanced` doubles the devices while that saves at least 25 % of the wall time and adds at
most 10 % device seconds.";

#[derive(Clone, Copy, ValueEnum)]
enum PolicyArg {
    /// The least device seconds
    Cheapest,
    /// Doubles the devices while it is worth it
    Balanced,
    /// The least wall time
    Fastest,
}

impl From<PolicyArg> for Policy {
    fn from(policy: PolicyArg) -> Self {
        match policy {
            PolicyArg::Cheapest => Self::Cheapest,
            PolicyArg::Balanced => Self::Balanced,
            PolicyArg::Fastest => Self::Fastest,
        }
    }
}

fn not_negative(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().map_err(|error| error.to_string())?;
    let usable = number.is_finite() && number >= 0.0;
    usable.then_some(number).ok_or_else(|| "must be a number of 0 or more".to_owned())
}

pub fn run(args: &PlanArgs, settings: &Settings) -> Result<(), CliError> {
    let measured = args.measured.as_deref().map(read_rows).transpose()?.unwrap_or_default();
    let job = Job {
        frames: args.frames,
        frame_seconds: args.frame_ms / 1e3,
        worker_seconds: args.startup_s + args.transfer_s,
        price: args.price.unwrap_or(settings.planner.price_per_device_second),
        max_devices: args.max_devices,
    };
    let plan = Plan::new(&job, &measured, args.policy.into());
    if args.json {
        return print_json(&json!(plan));
    }
    println!("{:>8}  {:>10}  {:>14}  {:>12}", "DEVICES", "WALL S", "DEVICE S", "COST");
    for row in &plan.rows {
        let mark = if row.devices == plan.devices { "  <- chosen" } else { "" };
        let cost = row.cost.unwrap_or_default();
        println!("{:>8}  {:>10.2}  {:>14.2}  {cost:>12.5}{mark}", row.devices, row.wall_seconds, row.device_seconds);
    }
    Ok(())
}

fn read_rows(file: &Path) -> Result<Vec<Row>, CliError> {
    let name = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| CliError::Usage(format!("reading {name}: {error}")))?;
    let rows: Vec<Row> =
        serde_json::from_str(&text).map_err(|error| CliError::Usage(format!("{name} is no array of rows: {error}")))?;
    let broken = |row: &&Row| row.devices == 0 || !(row.wall_seconds >= 0.0 && row.device_seconds >= 0.0);
    match rows.iter().find(broken) {
        Some(row) => Err(CliError::Usage(format!("{name}: {row:?} is no measured row"))),
        None => Ok(rows),
    }
}
