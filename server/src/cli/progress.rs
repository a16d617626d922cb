//! What is shown on stderr while a command works: bars on a terminal; elsewhere a plain line every few seconds, and
//! only for exports, which take minutes.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use actors::progress::message::Progress;
use indicatif::{ProgressBar, ProgressStyle};

const TICK: Duration = Duration::from_millis(100);
/// Time between two lines where stderr is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Turns until it is cleared.
pub fn spinner(message: impl Into<String>) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("the template is well formed");
    let bar = ProgressBar::new_spinner().with_style(style).with_message(message.into());
    bar.enable_steady_tick(TICK);
    bar
}

/// The progress of one export: state, frames, frames a second, time left.
pub struct ExportBar {
    bar: ProgressBar,
    /// When the last line was printed, where stderr is no terminal.
    lines: Option<Mutex<Instant>>,
}

impl ExportBar {
    pub fn new() -> Self {
        let style = ProgressStyle::with_template("{spinner} {prefix:10} [{bar:40}] {percent:>3} %  {msg}")
            .expect("the template is well formed")
            .progress_chars("=> ");
        let bar = ProgressBar::new(PARTS).with_style(style).with_prefix("starting");
        bar.enable_steady_tick(TICK);
        let lines = (!std::io::stderr().is_terminal()).then(|| Mutex::new(Instant::now()));
        Self { bar, lines }
    }

    /// Says what happens before frames are counted.
    pub fn stage(&self, name: &'static str) {
        self.bar.set_prefix(name);
    }

    pub fn show(&self, progress: &Progress) {
        self.bar.set_prefix(progress.state.to_string());
        self.bar.set_position((progress.progress * PARTS as f64).round() as u64);
        self.bar.set_message(figures(progress));
        let Some(printed) = &self.lines else { return };
        let mut printed = printed.lock().expect("no code panics while it holds this lock");
        if printed.elapsed() >= LINE_INTERVAL && !progress.state.is_terminal() {
            *printed = Instant::now();
            eprintln!("{} {:.0} %  {}", progress.state, progress.progress * 100.0, figures(progress));
        }
    }

    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// Steps of the bar; finer than any terminal is wide.
const PARTS: u64 = 1000;

/// "120/900 frames  14.2 fps  1:05 left"
fn figures(progress: &Progress) -> String {
    format!(
        "{}/{} frames  {:.1} fps{}",
        progress.frames_done,
        progress.frames_total,
        progress.fps,
        progress.eta_seconds.map(left).unwrap_or_default()
    )
}

/// "  1:05 left"
fn left(seconds: f64) -> String {
    let seconds = seconds.max(0.0).ceil() as u64;
    format!("  {}:{:02} left", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_rounded_up_to_seconds() {
        assert_eq!(left(0.2), "  0:01 left");
        assert_eq!(left(64.6), "  1:05 left");
        assert_eq!(left(-1.0), "  0:00 left");
    }
}
