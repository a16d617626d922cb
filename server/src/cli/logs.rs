//! Where log lines and traces go. Only `serve` logs by default; elsewhere stderr belongs to the progress bar and the
//! error.

use std::io::{self, BufWriter, IsTerminal, Stderr, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use actors::settings::config_keeper::Versioned;
use config::{LogFormat, LogLevel, LogSettings};
use tokio::sync::watch;
use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{self, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use super::error::CliError;
use super::trace;

/// What `--verbose` shows: whatever helps to find out why a command does what it does.
pub const EVERYTHING: LogSettings = LogSettings { level: LogLevel::Debug, format: LogFormat::Text };

/// Lines that wait while stderr blocks. When there are more, the server goes on and counts the lines that are dropped.
const WAITING_LINES: usize = 100_000;
/// Bytes of lines that are written at once when many come.
const BUFFER: usize = 64 << 10;
/// How long the thread waits for more lines before it writes again: how late a line may be.
const BATCH_DELAY: Duration = Duration::from_millis(10);
/// How often the number of dropped lines is recorded.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// Libraries whose lines below `warn` are left out; at level `trace`, those below `info`.
const LIBRARIES: [&str; 6] = ["sqlx", "sea_orm", "ort", "h2", "hyper", "mio"];

/// Logging and tracing of the process. Dropping it writes what waits and finishes the trace.
pub struct Logs {
    lines: Option<Lines>,
    _trace: Option<trace::Finish>,
}

/// What writes lines to stderr.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The thread that logs: lines stand in order with what the command prints itself.
    Speaker,
    /// A thread of its own, so that no request waits for a terminal or a pipe.
    Thread,
}

/// One writer a format, of which one is off.
struct Lines {
    text: Threshold,
    json: Threshold,
    thread: Option<(ErrorCounter, WorkerGuard)>,
}

impl Logs {
    /// Logs to stderr by the settings `lines`, if there are any, and traces into the file `trace`, if there is one.
    pub fn start(lines: Option<&LogSettings>, writer: Writer, trace: Option<&Path>) -> Result<Self, CliError> {
        let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
        let lines = lines.map(|settings| {
            let (text, json) = (Threshold::default(), Threshold::default());
            text.set(settings, LogFormat::Text);
            json.set(settings, LogFormat::Json);
            let colours = io::stderr().is_terminal();
            let (to_text, to_json, thread) = to_stderr(writer);
            let plain = fmt::layer().with_ansi(colours).with_writer(to_text);
            let machine = fmt::layer().json().flatten_event(true).with_current_span(false).with_writer(to_json);
            layers.push(plain.with_filter(text.clone()).boxed());
            layers.push(machine.with_filter(json.clone()).boxed());
            Lines { text, json, thread }
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

    /// Follows the `log` section of the live settings until the node stops, and counts the lines that were dropped.
    pub fn follow(&self, mut settings: watch::Receiver<Arc<Versioned>>) -> impl Future<Output = ()> + use<> {
        let handles = self.lines.as_ref().map(|lines| {
            let dropped = lines.thread.as_ref().map(|(dropped, _)| dropped.clone());
            (lines.text.clone(), lines.json.clone(), dropped)
        });
        async move {
            let Some((text, json, dropped)) = handles else { return };
            let mut current = None;
            let mut counting = tokio::time::interval(COUNT_EVERY);
            let counter = metrics::counter!("touchline_log_lines_lost_total");
            loop {
                let wanted = settings.borrow_and_update().live.log.clone();
                if current.as_ref() != Some(&wanted) {
                    text.set(&wanted, LogFormat::Text);
                    json.set(&wanted, LogFormat::Json);
                    // Callsites cache whether they are enabled.
                    tracing_core::callsite::rebuild_interest_cache();
                    current = Some(wanted);
                }
                tokio::select! {
                    changed = settings.changed() => if changed.is_err() { return },
                    _ = counting.tick() => {
                        counter.absolute(dropped.as_ref().map_or(0, ErrorCounter::dropped_lines) as u64);
                    }
                }
            }
        }
    }
}

/// A writer for each format, and the thread behind them.
fn to_stderr(writer: Writer) -> (BoxMakeWriter, BoxMakeWriter, Option<(ErrorCounter, WorkerGuard)>) {
    if writer == Writer::Speaker {
        return (BoxMakeWriter::new(io::stderr), BoxMakeWriter::new(io::stderr), None);
    }
    let thread = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING_LINES).thread_name("log");
    let (lines, guard) = thread.finish(Batches(BufWriter::with_capacity(BUFFER, io::stderr())));
    let dropped = lines.error_counter();
    (BoxMakeWriter::new(lines.clone()), BoxMakeWriter::new(lines), Some((dropped, guard)))
}

/// Writes what has come, then waits a moment for more: so the thread has to be woken seldom.
struct Batches(BufWriter<Stderr>);

impl Write for Batches {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    /// Called when nothing is left to write.
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()?;
        std::thread::sleep(BATCH_DELAY);
        Ok(())
    }
}

/// A worker that panics is replaced and its error reported; without `--verbose` its message would only break the
/// progress bar and add lines to the one that programs read.
pub fn hide_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

/// The level of a writer, which may change. Read by every log call, several times a request: an atomic, since the
/// cache line of a lock's reader count would move between cores.
#[derive(Clone, Default)]
struct Threshold(Arc<AtomicU8>);

const LEVELS: [LevelFilter; 6] = [
    LevelFilter::OFF,
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

impl Threshold {
    /// The level of the settings; the writer of the other format is off.
    fn set(&self, settings: &LogSettings, format: LogFormat) {
        let level = match settings.level {
            _ if settings.format != format => 0,
            LogLevel::Error => 1,
            LogLevel::Warn => 2,
            LogLevel::Info => 3,
            LogLevel::Debug => 4,
            LogLevel::Trace => 5,
        };
        self.0.store(level, Ordering::Relaxed);
    }

    fn level(&self) -> LevelFilter {
        LEVELS[usize::from(self.0.load(Ordering::Relaxed))]
    }

    fn lets_through(&self, metadata: &Metadata<'_>) -> bool {
        let level = self.level();
        if *metadata.level() > level {
            return false;
        }
        let quiet = if level == LevelFilter::TRACE { LevelFilter::INFO } else { LevelFilter::WARN };
        *metadata.level() <= quiet || !LIBRARIES.iter().any(|library| metadata.target().starts_with(library))
    }
}

impl<S> layer::Filter<S> for Threshold {
    fn enabled(&self, metadata: &Metadata<'_>, _: &layer::Context<'_, S>) -> bool {
        self.lets_through(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.lets_through(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level())
    }
}
