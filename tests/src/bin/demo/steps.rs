//! What the demo says while it works: numbered steps, and bars where a terminal shows them.

use std::cell::Cell;
use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use touchline_tests::client::Progress;

/// Numbered lines on stdout.
pub struct Steps {
    of: usize,
    at: Cell<usize>,
}

impl Steps {
    pub fn new(of: usize) -> Self {
        Self { of, at: Cell::new(0) }
    }

    /// Says what comes next.
    pub fn next(&self, what: &str) {
        self.at.set(self.at.get() + 1);
        println!("[{}/{}] {what}", self.at.get(), self.of);
    }

    /// A bar of bytes.
    pub fn bytes(&self) -> Bar {
        Bar::new("      [{bar:40}] {bytes} of {total_bytes}")
    }

    /// A bar of an export's progress.
    pub fn frames(&self) -> Bar {
        Bar::new("      [{bar:40}] {msg}")
    }
}

/// A bar; a few lines where stderr is no terminal.
pub struct Bar {
    bar: ProgressBar,
    said: Cell<u64>,
}

impl Bar {
    fn new(template: &str) -> Self {
        let style = ProgressStyle::with_template(template).expect("the template is well formed").progress_chars("=> ");
        Self { bar: ProgressBar::new(1).with_style(style), said: Cell::new(0) }
    }

    pub fn show(&self, at: u64, of: u64) {
        self.bar.set_length(of);
        self.bar.set_position(at);
    }

    /// Shows a progress message.
    pub fn heard(&self, progress: &Progress) {
        let left = progress.eta_seconds.map(|seconds| format!(", {seconds:.0} s left")).unwrap_or_default();
        let text = format!(
            "{}: {} of {} frames, {:.1} fps{left}",
            progress.state, progress.frames_done, progress.frames_total, progress.fps
        );
        self.show((progress.progress * 1000.0) as u64, 1000);
        self.bar.set_message(text.clone());
        // A line at each quarter is enough for a log.
        let quarter = 1 + (progress.progress * 4.0) as u64;
        if !std::io::stderr().is_terminal() && quarter > self.said.get() {
            self.said.set(quarter);
            println!("      {text}");
        }
    }

    pub fn done(&self) {
        self.bar.finish_and_clear();
    }
}
