//! `touchline schema`: the steps of the database's schema.

use clap::{Args, Subcommand};
use config::Settings;
use serde_json::json;

use super::error::CliError;
use super::{print_json, tenant};

/// Servers and administration commands apply missing steps by themselves.
#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum SchemaCommand {
    /// Show every step and whether the database has it
    Status,
    /// Apply missing steps
    Up,
    /// Take the newest steps back, with everything that is in their tables and columns; stop every server first
    Down(DownArgs),
}

#[derive(Args)]
pub struct DownArgs {
    /// How many
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    steps: u32,
}

const EXAMPLES: &str = "\
Examples:
  touchline schema status
  touchline schema down --steps 1
  touchline schema up";

pub fn run(command: SchemaCommand, settings: &Settings) -> Result<(), CliError> {
    if !matches!(command, SchemaCommand::Up) {
        tenant::require_database(settings)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CliError::failed("starting", error))?;
    let url = &settings.database.url;
    let steps = runtime.block_on(async {
        match command {
            SchemaCommand::Status => {}
            SchemaCommand::Up => entities::connect(url).await?.close().await?,
            SchemaCommand::Down(args) => entities::schema_down(url, args.steps).await?,
        }
        entities::schema(url).await
    });
    let steps = steps.map_err(anyhow::Error::from)?;
    let shown = steps.iter().map(|step| json!({"name": step.name, "applied": step.applied}));
    print_json(&json!({ "steps": shown.collect::<Vec<_>>() }))
}
