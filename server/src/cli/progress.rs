//! What is drawn on stderr while a command works. Nothing is drawn where stderr is no terminal.

use std::time::Duration;

use actors::progress::message::Progress;
use indicatif::{ProgressBar, ProgressStyle};

const TICK: Duration = Duration::from_millis(100);

/// Turns until it is cleared.
pub fn spinner(message: impl Into<String>) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("the template is well formed");
    let bar = ProgressBar::new_spinner().with_style(style).with_message(message.into());
    bar.enable_steady_tick(TICK);
    bar
}

/// The bar of one export: state, frames, frames a second, time left.
pub struct ExportBar(ProgressBar);

impl ExportBar {
    pub fn new() -> Self {
        let style = ProgressStyle::with_template("{spinner} {prefix:10} [{bar:40}] {percent:>3} %  {msg}")
            .expect("the template is well formed")
            .progress_chars("=> ");
        let bar = ProgressBar::new(PARTS).with_style(style).with_prefix("starting");
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// Says what happens before frames are counted.
    pub fn stage(&self, name: &'static str) {
        self.0.set_prefix(name);
    }

    pub fn show(&self, progress: &Progress) {
        self.0.set_prefix(state_name(progress));
        self.0.set_position((progress.progress * PARTS as f64).round() as u64);
        self.0.set_message(format!(
            "{}/{} frames  {:.1} fps{}",
            progress.frames_done,
            progress.frames_total,
            progress.fps,
            progress.eta_seconds.map(left).unwrap_or_default()
        ));
    }

    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}

/// Steps of the bar; finer than any terminal is wide.
const PARTS: u64 = 1000;

fn state_name(progress: &Progress) -> String {
    let name = serde_json::to_value(progress.state).ok();
    name.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
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
