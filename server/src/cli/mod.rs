//! The command line: one file a command, and what they share.
//!
//! Results go to stdout as JSON, progress and errors to stderr. Exit codes: 0 done, 2 bad usage or a bad spec, 3 input
//! that is refused, 1 anything else, 130 interrupted.

mod bench;
mod error;
mod job;
mod key;
mod logs;
mod models;
mod openapi;
mod plan;
mod private_files;
mod probe;
mod progress;
mod publish;
mod render;
mod render_args;
mod report;
mod schema;
mod serve;
mod signals;
mod storage;
mod tenant;
mod trace;
mod user;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use config::Settings;

use error::CliError;
use logs::{Logs, Writer};

#[derive(Parser)]
#[command(name = "touchline", version, about = "A media server for sports footage", after_help = EXAMPLES)]
struct Cli {
    /// Settings to lay over the built-in ones; environment variables TOUCHLINE__SECTION__KEY come last
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Show logs and FFmpeg's messages on stderr
    #[arg(short, long, global = true)]
    verbose: bool,

    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  touchline serve
  touchline render framing --input match.mp4 --spec reel.json --output reel.mp4
  touchline probe match.mp4
  touchline models list

Every command has a --help of its own.";

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::ServeArgs),
    /// Render one export on this machine, without a server
    #[command(subcommand)]
    Render(render::RenderCommand),
    /// Decode a whole video file and describe it as JSON
    Probe(probe::ProbeArgs),
    /// Make, list and check the models
    #[command(subcommand)]
    Models(models::ModelsCommand),
    /// Measure this machine: decode, encode, each model on each device, a whole framing job
    Bench(bench::BenchArgs),
    /// Say how many devices a job should take, and what that costs
    Plan(plan::PlanArgs),
    /// Create, list and suspend tenants
    #[command(subcommand)]
    Tenant(tenant::TenantCommand),
    /// Create users and set lost passwords
    #[command(subcommand)]
    User(user::UserCommand),
    /// Create, list and revoke API keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Show the steps of the database's schema, or take some back
    #[command(subcommand)]
    Schema(schema::SchemaCommand),
    /// Show whether the storage and the database belong together, or make them
    #[command(subcommand)]
    Storage(storage::StorageCommand),
    /// Print the OpenAPI document of the HTTP API
    Openapi(openapi::OpenapiArgs),
}

impl Command {
    /// Where a trace is asked for.
    fn trace(&self) -> Option<&Path> {
        match self {
            Self::Render(command) => command.args().trace.as_deref(),
            _ => None,
        }
    }
}

/// Parses the arguments, runs the command and reports how it went.
pub fn main() -> ExitCode {
    let result = Cli::try_parse().map_err(usage_error).and_then(run);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.print();
            // Not `ExitCode`: worker threads of an interrupted render may still be busy, and are not waited for.
            std::process::exit(error.exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<(), CliError> {
    let settings = || Settings::load(cli.config.as_deref()).map_err(|error| CliError::Usage(error.to_string()));
    let log = match &cli.command {
        // It has a setting of its own.
        Command::Serve(_) => None,
        command => Some(Logs::start(cli.verbose.then_some(&logs::EVERYTHING), Writer::Speaker, command.trace())?),
    };
    if log.is_some() && !cli.verbose {
        logs::hide_panics();
    }
    match cli.command {
        Command::Serve(args) => serve::run(args, settings()?, cli.verbose),
        Command::Render(command) => render::run(command, settings()?),
        Command::Probe(args) => probe::run(&args, &settings()?),
        Command::Models(command) => models::run(&command, &settings()?),
        Command::Bench(args) => bench::run(&args, settings()?),
        Command::Plan(args) => plan::run(&args, &settings()?),
        Command::Tenant(command) => tenant::run(command, &settings()?),
        Command::User(command) => user::run(command, &settings()?),
        Command::Key(command) => key::run(command, &settings()?),
        Command::Schema(command) => schema::run(command, &settings()?),
        Command::Storage(command) => storage::run(command, &settings()?),
        Command::Openapi(_) => openapi::run(),
    }
}

/// Help and version are no errors; everything else keeps clap's words, on one line where no terminal shows them.
fn usage_error(error: clap::Error) -> CliError {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand if !std::io::stderr().is_terminal() => {
            CliError::Usage("a command is missing; see `touchline --help`".to_owned())
        }
        _ if std::io::stderr().is_terminal() => error.exit(),
        _ => {
            let text = error.to_string();
            let what = text.split("\n\nUsage:").next().unwrap_or_default();
            let what = what.split("\n\nFor more information").next().unwrap_or_default();
            CliError::Usage(what.trim_start_matches("error: ").to_owned())
        }
    }
}

/// Prints a result on stdout as indented JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    use std::io::Write;
    let mut text = serde_json::to_string_pretty(value).map_err(anyhow::Error::from)?;
    text.push('\n');
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| CliError::failed("writing to standard output", error))
}
