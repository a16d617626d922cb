//! Where log lines and traces go. Only `serve` logs by default; elsewhere stderr belongs to the progress bar and the
//! error.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use actors::Versioned;
use config::{LogFormat, LogLevel, LogSettings};
use tokio::sync::watch;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::error::CliError;
use super::trace;

/// What `--verbose` shows: whatever helps to find out why a command does what it does.
pub const EVERYTHING: LogSettings = LogSettings { level: LogLevel::Debug, format: LogFormat::Text };

type Filter = reload::Handle<EnvFilter, Registry>;

/// Logging and tracing of the process. Dropping it finishes the trace.
pub struct Logs {
    lines: Option<Lines>,
    _trace: Option<trace::Finish>,
}

/// One writer a format, of which one is silent.
struct Lines {
    text: Filter,
    json: Filter,
}

impl Logs {
    /// Logs to stderr as `lines` says, if at all, and traces into the file `trace`, if there is one.
    pub fn start(lines: Option<&LogSettings>, trace: Option<&Path>) -> Result<Self, CliError> {
        let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
        let lines = lines.map(|settings| {
            let (text, text_handle) = reload::Layer::new(filter(settings, LogFormat::Text));
            let (json, json_handle) = reload::Layer::new(filter(settings, LogFormat::Json));
            let colours = std::io::stderr().is_terminal();
            let plain = fmt::layer().with_ansi(colours).with_writer(std::io::stderr);
            let machine = fmt::layer().json().flatten_event(true).with_current_span(false).with_writer(std::io::stderr);
            layers.push(plain.with_filter(text).boxed());
            layers.push(machine.with_filter(json).boxed());
            Lines { text: text_handle, json: json_handle }
        });
        let trace = trace.map(trace::to_file).transpose()?.map(|(layer, finish)| {
            layers.push(layer);
            finish
        });
        if !layers.is_empty() {
            tracing_subscriber::registry().with(layers).init();
        }
        Ok(Self { lines, _trace: trace })
    }

    /// Follows the `log` section of the live settings until the node stops.
    pub fn follow(&self, mut settings: watch::Receiver<Arc<Versioned>>) -> impl Future<Output = ()> + use<> {
        let handles = self.lines.as_ref().map(|lines| (lines.text.clone(), lines.json.clone()));
        async move {
            let Some((text, json)) = handles else { return };
            let mut current = None;
            loop {
                let wanted = settings.borrow_and_update().live.log.clone();
                if current.as_ref() != Some(&wanted) {
                    set(&text, filter(&wanted, LogFormat::Text));
                    set(&json, filter(&wanted, LogFormat::Json));
                    current = Some(wanted);
                }
                if settings.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

/// A worker that panics is replaced and its error reported; without `--verbose` its message would only tear the
/// progress bar and add lines to the one that programs read.
pub fn hide_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

fn set(handle: &Filter, filter: EnvFilter) {
    if let Err(error) = handle.reload(filter) {
        tracing::warn!(%error, "the log could not be changed");
    }
}

/// The level for Touchline; the libraries below it speak only when something is wrong, or when all is asked for. The
/// writer of the other format says nothing.
fn filter(settings: &LogSettings, format: LogFormat) -> EnvFilter {
    if settings.format != format {
        return EnvFilter::new("off");
    }
    let level = settings.level.as_str();
    let quiet = if level == "trace" { "info" } else { "warn" };
    EnvFilter::new(format!("{level},sqlx={quiet},sea_orm={quiet},ort={quiet},h2={quiet},hyper={quiet},mio={quiet}"))
}
