//! `touchline render`: one export by the actors of the server, in this process and in a private temporary folder.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actors::Node;
use actors::exports::request::NewRequest;
use actors::progress::hub::Subscribe;
use actors::progress::message::Progress;
use actors::videos::error::ImportError;
use actors::videos::import::NewSource;
use anyhow::{Context, anyhow};
use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};
use config::Settings;
use edits::ExportKind;
use entities::exports::{self, Export, ExportState};
use entities::videos::{Video, VideoState};
use entities::{TenantId, VideoId, tenants};
use serde_json::Value;

use super::error::CliError;
use super::job::Job;
use super::progress::ExportBar;
use super::render_args::RenderArgs;
use super::signals::Interrupts;
use super::{print_json, publish, report};

/// What to render: a kind of export, each a subcommand with the same arguments. The input file stands for every source of
/// the spec, which names none.
pub struct RenderCommand {
    kind: ExportKind,
    args: RenderArgs,
}

impl Subcommand for RenderCommand {
    fn augment_subcommands(command: Command) -> Command {
        ExportKind::ALL.iter().fold(command.after_help(EXAMPLES), |command, kind| {
            let kind = Command::new(kind.name()).about(kind.about()).after_help(kind.examples());
            command.subcommand(RenderArgs::augment_args(kind))
        })
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        name.parse::<ExportKind>().is_ok()
    }
}

impl FromArgMatches for RenderCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let missing = || clap::Error::raw(ErrorKind::MissingSubcommand, "say which kind of export to render");
        let (name, matches) = matches.subcommand().ok_or_else(missing)?;
        let kind = name.parse().map_err(|error| clap::Error::raw(ErrorKind::InvalidSubcommand, error))?;
        Ok(Self { kind, args: RenderArgs::from_arg_matches(matches)? })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl RenderCommand {
    /// The arguments, which all kinds share.
    pub fn args(&self) -> &RenderArgs {
        &self.args
    }
}

const EXAMPLES: &str = "\
Examples:
  touchline render framing --input match.mp4 --spec reel.json --output reel.mp4
  touchline render overlay --input reel.mp4 --spec spotlight.json --output lit.mp4
  touchline render annotated --input match.mp4 --spec notes.json --output review.mp4
  touchline render clip --input match.mp4 --spec goal.json --output goal.mp4
  touchline render detection --input match.mp4 --spec every-second.json --output people.json

Progress is shown on stderr, as a line every five seconds where that is no terminal; the report is printed on stdout
as JSON.
Exit codes: 0 done, 2 bad usage or a bad spec, 3 the input is refused, 1 anything else, 130 interrupted.";

/// How long workers get to end before their files are removed under them.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// How often a folder that could not be removed is tried again.
const POLL: Duration = Duration::from_millis(20);

pub fn run(command: RenderCommand, settings: Settings) -> Result<(), CliError> {
    let RenderCommand { kind, args } = command;
    media::init();
    print_json(&perform(&Job::prepare(kind, args, &settings)?, settings)?)
}

/// Renders in a private temporary folder and returns the report.
pub fn perform(job: &Job, settings: Settings) -> Result<Value, CliError> {
    let workspace = tempfile::Builder::new().prefix("touchline-").tempdir();
    let workspace = workspace.context("making a temporary folder")?;
    let settings = job.settings(settings, workspace.path());
    let rendered = actix::System::new().block_on(supervise(job, settings));
    remove(workspace);
    rendered
}

/// Renders until it is done or interrupted, and stops the node either way.
async fn supervise(job: &Job, settings: Settings) -> Result<Value, CliError> {
    let mut interrupts = Interrupts::listen()?;
    let bar = ExportBar::new();
    bar.stage("loading");
    let node = tokio::select! {
        node = Node::start(settings, job.options) => node.map_err(anyhow::Error::from)?,
        () = interrupts.next() => return Err(CliError::Interrupted),
    };
    let rendered = tokio::select! {
        rendered = render(job, &node, &bar) => rendered,
        () = interrupts.next() => Err(CliError::Interrupted),
    };
    bar.clear();
    // A worker inside a long call may not answer in time; the process ends without it.
    let _ = tokio::time::timeout(STOP_PATIENCE, node.stop()).await;
    rendered
}

async fn render(job: &Job, node: &Node, bar: &ExportBar) -> Result<Value, CliError> {
    node.ready().await.map_err(|reason| CliError::Failed(anyhow!(reason)))?;
    bar.stage("indexing");
    let tenant = tenants::create(node.database(), "command line").await.map_err(anyhow::Error::from)?.id;
    let video = import(job, node, tenant).await?;
    let request = NewRequest { tenant, by: None, body: job.spec.clone(), input: Some(video.id), key: None };
    let export = node.exports.start(request).await.map_err(|error| job.refusal(error))?;
    let export = follow(node, &export, bar).await?;

    let began = Instant::now();
    let result = node.exports.result_path(&export).context("the export is complete but has no result")?;
    publish::publish(&result, &job.args.output)?;
    let own = export.report.unwrap_or_default();
    Ok(report::complete(&own, job.kind.name(), &job.args.input, &job.args.output, began.elapsed()))
}

/// Makes the input file a video of the private database; the file stays where it is.
async fn import(job: &Job, node: &Node, tenant: TenantId) -> Result<Video, CliError> {
    let input = &job.args.input;
    let path = std::path::absolute(input).with_context(|| format!("finding {}", input.display()))?;
    let name = input.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let source = NewSource { tenant, id: VideoId::new(), name, path, link: true };
    let imported = node.videos.import(source, job.indexing).await;
    let video = imported.map_err(|error| import_failed(input, error))?;
    match video.state {
        VideoState::Failed => {
            Err(CliError::Refused(format!("{} is refused: {}", input.display(), reason_of(&video.problem))))
        }
        _ => Ok(video),
    }
}

fn import_failed(input: &Path, error: ImportError) -> CliError {
    let refused = |detail: String| CliError::Refused(format!("{} is refused: {detail}", input.display()));
    match error {
        ImportError::TooLarge { .. } => refused(error.to_string()),
        ImportError::Process(error) => match error.refusal() {
            Some((_, detail)) => refused(detail),
            None => CliError::failed(input.display(), error),
        },
        error => CliError::failed(input.display(), error),
    }
}

/// Shows progress until the export has ended.
async fn follow(node: &Node, export: &Export, bar: &ExportBar) -> Result<Export, CliError> {
    let (sink, mut updates) = tokio::sync::mpsc::channel::<Arc<Progress>>(16);
    let subscribe = Subscribe { tenant: export.tenant_id, export: Some(export.id), sink };
    let subscribed = node.progress.subscribe(subscribe).await.context("following the export")?;
    subscribed.map_err(anyhow::Error::from)?;
    while let Some(progress) = updates.recv().await {
        bar.show(&progress);
        if progress.state.is_terminal() {
            break;
        }
    }
    let row = exports::get(node.database(), export.tenant_id, export.id).await.map_err(anyhow::Error::from)?;
    let row = row.context("the export's row is gone")?;
    match row.state {
        ExportState::Complete => Ok(row),
        state => Err(CliError::Failed(anyhow!("the export is {state}: {}", reason_of(&row.problem)))),
    }
}

/// The detail of a problem object.
fn reason_of(problem: &Option<Value>) -> &str {
    let detail = problem.as_ref().and_then(|problem| problem.get("detail")).and_then(Value::as_str);
    detail.unwrap_or("no reason is known")
}

/// Threads that are still ending may write once more into the folder, so one refusal is not the last word.
fn remove(workspace: tempfile::TempDir) {
    let path = workspace.keep();
    let deadline = Instant::now() + STOP_PATIENCE;
    while let Err(error) = std::fs::remove_dir_all(&path)
        && path.exists()
    {
        if Instant::now() > deadline {
            tracing::warn!(path = %path.display(), %error, "the temporary folder could not be removed");
            return;
        }
        std::thread::sleep(POLL);
    }
}
