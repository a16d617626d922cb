//! `touchline openapi`.

use clap::Args;

use super::error::CliError;

/// The document is generated from the handlers, so it is always that of this program.
#[derive(Args)]
#[command(after_help = "Example:\n  touchline openapi > openapi.json")]
pub struct OpenapiArgs {}

pub fn run() -> Result<(), CliError> {
    super::print_json(&crate::http::openapi())
}
