//! The job of a render command, checked as far as possible without a running system.

use std::path::Path;

use actors::NodeOptions;
use actors::exports::error::RequestError;
use actors::videos::import::Indexing;
use config::Settings;
use edits::{ExportKind, ExportSpec, FieldError, SourceRule};
use models::ModelStore;
use serde_json::Value;

use super::error::CliError;
use super::probe;
use super::render_args::RenderArgs;

/// One render.
pub struct Job {
    pub kind: ExportKind,
    pub args: RenderArgs,
    pub spec: Value,
    /// Only the models that the spec needs are loaded.
    pub options: NodeOptions,
    /// How much of the input has to be indexed.
    pub indexing: Indexing,
}

impl Job {
    /// Reads the spec and probes the input, so that plain mistakes are reported before models are loaded.
    pub fn prepare(kind: ExportKind, args: RenderArgs, settings: &Settings) -> Result<Self, CliError> {
        check_output(&args)?;
        let spec = read_spec(kind.name(), &args.spec)?;
        if edits::spec::limits::is_too_long(&spec) {
            return Err(CliError::Usage(format!("{}: {}", args.spec.display(), RequestError::TooLarge)));
        }
        let parsed = edits::spec::parse(&spec, SourceRule::Implied);
        let Some(shape) = parsed.spec else {
            return Err(mistakes(&args.spec, &parsed.errors));
        };
        let indexing = needed_of_input(&shape);
        if matches!(indexing, Indexing::Around { .. }) {
            media::map_large_blocks();
        }
        let inspected = probe::in_process(settings, async |processes| processes.inspect(&args.input).await)?;
        inspected.map_err(|error| probe::refused(&args.input, error))?;
        // A spec with mistakes is still checked against the input, so that all of them are reported, but not rendered.
        let options = if parsed.errors.is_empty() { needed(&shape) } else { NOTHING };
        Ok(Self { kind, args, spec, options, indexing })
    }

    /// The deployment's settings, with rows and files in `workspace` and what the arguments set.
    pub fn settings(&self, mut settings: Settings, workspace: &Path) -> Settings {
        settings.data_dir = workspace.to_owned();
        settings.database.url = format!("sqlite://{}/touchline.db", workspace.display());
        settings.storage.url = format!("file://{}/media", workspace.display());
        settings.redis.url = String::new();
        // Measured profiles are kept with the models, wherever the command was started.
        if let Ok(folder) = ModelStore::locate(&settings.models.dir) {
            settings.models.dir = folder;
        }
        if let Some(devices) = &self.args.devices {
            settings.devices.list = devices.clone();
        }
        if let Some(batch) = self.args.batch {
            settings.devices.batch = usize::from(batch);
        }
        if let Some(milliseconds) = self.args.sim_frame_ms {
            settings.devices.sim_frame_ms = milliseconds;
        }
        settings
    }

    /// Why the export was not accepted, as an error of this command.
    pub fn refusal(&self, error: RequestError) -> CliError {
        match error {
            RequestError::Invalid(errors) => mistakes(&self.args.spec, &errors),
            error => CliError::Failed(error.into()),
        }
    }
}

const NOTHING: NodeOptions = NodeOptions { upscaler: false, detector: false };

/// Only models that the spec does not name are loaded before it is accepted; a named one is loaded when it is needed.
fn needed(spec: &ExportSpec) -> NodeOptions {
    let needs = spec.models();
    NodeOptions { upscaler: needs.upscaler == Some("auto"), detector: needs.detector }
}

fn needed_of_input(spec: &ExportSpec) -> Indexing {
    spec.read_range().map_or(Indexing::Now, |(start, end)| Indexing::Around { start, end })
}

fn check_output(args: &RenderArgs) -> Result<(), CliError> {
    let output = &args.output;
    let shown = output.display();
    let Some(name) = output.file_name() else {
        return Err(CliError::Usage(format!("--output {shown} names no file")));
    };
    if output.is_dir() {
        return Err(CliError::Usage(format!("--output {shown} is a folder; give a file name in it, such as reel.mp4")));
    }
    let folder = super::publish::folder_of(output);
    let Ok(folder) = folder.canonicalize() else {
        return Err(CliError::Usage(format!("--output {shown}: there is no folder {}", folder.display())));
    };
    let over = |file: &Path| file.canonicalize().is_ok_and(|file| file == folder.join(name));
    if over(&args.input) || over(&args.spec) {
        return Err(CliError::Usage(format!("--output {shown} would replace what is read")));
    }
    Ok(())
}

/// Reads the spec. Its `kind` may be left out: the command implies it.
fn read_spec(kind: &str, path: &Path) -> Result<Value, CliError> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| CliError::Usage(format!("reading the spec {shown}: {error}")))?;
    let mut spec: Value = serde_json::from_str(&text)
        .map_err(|error| CliError::Usage(format!("the spec {shown} is no JSON: {error}")))?;
    if let Value::Object(fields) = &mut spec {
        let named = fields.entry("kind").or_insert_with(|| kind.into());
        if named.as_str().is_some_and(|named| named != kind) {
            return Err(CliError::Usage(format!(
                "the spec {shown} is of kind {named}, the command renders \"{kind}\""
            )));
        }
    }
    Ok(spec)
}

/// Every mistake of a spec, each on its line.
fn mistakes(spec: &Path, errors: &[FieldError]) -> CliError {
    let count = match errors.len() {
        1 => "a mistake".to_owned(),
        count => format!("{count} mistakes"),
    };
    let lines = errors.iter().map(|error| {
        let place = if error.pointer.is_empty() { "the whole" } else { &error.pointer };
        format!("{place}: {}", error.detail)
    });
    let lines = lines.collect::<Vec<_>>().join(";\n  ");
    CliError::Usage(format!("the spec {} has {count}:\n  {lines}", spec.display()))
}
