//! `touchline serve`.

use std::path::PathBuf;

use actors::{Node, NodeOptions, failpoints};
use clap::Args;
use config::Settings;

use super::error::CliError;
use super::logs::{self, Logs, Writer};
use super::private_files::keep_private;
use crate::http;

/// Runs until SIGTERM or Ctrl-C, then stops within ten seconds and leaves unfinished segments for the next start.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// Write what every thread does into a file for https://ui.perfetto.dev; it grows as long as the server runs
    #[arg(long, value_name = "FILE", env = "TOUCHLINE_TRACE")]
    pub trace: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  touchline serve
  touchline serve --config touchline.toml
  TOUCHLINE__SERVER__LISTEN=0.0.0.0:8080 TOUCHLINE__DATA_DIR=/srv/touchline touchline serve

The first start makes the tenant `default` and an operator, from TOUCHLINE_ADMIN_EMAIL and
TOUCHLINE_ADMIN_PASSWORD or as admin@localhost with a password that is printed once.";

pub fn run(args: ServeArgs, settings: Settings, verbose: bool) -> Result<(), CliError> {
    keep_private();
    let lines = if verbose { &logs::EVERYTHING } else { &settings.log };
    let log = Logs::start(Some(lines), Writer::Thread, args.trace.as_deref())?;
    failpoints::arm();
    let system = actix::System::new();
    let ended = system.block_on(async {
        http::install_metrics()?;
        let node = Node::start(settings, NodeOptions::default()).await.map_err(anyhow::Error::from)?;
        if !verbose {
            actix::spawn(log.follow(node.live.clone()));
        }
        Ok(http::serve(node, http::stop_signal()).await?)
    });
    // Dropped, it would wait for blocking work such as the indexing of a long match, which the next start takes up
    // again; the process's end ends it.
    std::mem::forget(system);
    ended
}
