//! Where log lines go. Only `serve` logs by default; elsewhere stderr belongs to the progress bar and the error.

use std::io::IsTerminal;
use std::sync::Arc;

use actors::Versioned;
use config::LogLevel;
use tokio::sync::watch;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// Changes the level of a running server's log.
pub struct LogHandle(reload::Handle<EnvFilter, Registry>);

/// Logs to stderr from `level` on.
pub fn start(level: LogLevel) -> LogHandle {
    let (filter, handle) = reload::Layer::new(filter(level.as_str()));
    tracing_subscriber::registry()
        .with(filter)
        .with(fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr))
        .init();
    LogHandle(handle)
}

/// Logs to stderr whatever helps to find out why a command does what it does.
pub fn show_everything() {
    start(LogLevel::Debug);
}

/// A worker that panics is replaced and its error reported; without `--verbose` its message would only tear the
/// progress bar and add lines to the one that programs read.
pub fn hide_panics() {
    std::panic::set_hook(Box::new(|_| {}));
}

impl LogHandle {
    /// Follows `log.level` of the live settings until the node stops.
    pub async fn follow(self, mut settings: watch::Receiver<Arc<Versioned>>) {
        let mut level = settings.borrow_and_update().live.log.level;
        self.set(level);
        while settings.changed().await.is_ok() {
            let wanted = settings.borrow_and_update().live.log.level;
            if wanted != level {
                level = wanted;
                self.set(level);
            }
        }
    }

    fn set(&self, level: LogLevel) {
        if let Err(error) = self.0.reload(filter(level.as_str())) {
            tracing::warn!(%error, "the log level could not be changed");
        }
    }
}

/// `level` for Touchline; the libraries below it speak only when something is wrong, or when all is asked for.
fn filter(level: &str) -> EnvFilter {
    let quiet = if level == "trace" { "info" } else { "warn" };
    EnvFilter::new(format!("{level},sqlx={quiet},sea_orm={quiet},ort={quiet},h2={quiet},hyper={quiet},mio={quiet}"))
}
