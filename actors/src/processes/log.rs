//! What a render process logs arrives in the log of the node, and what it traces in the node's trace.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sandbox::Channel;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

use super::device_message::DeviceMessage;
use super::message::{Line, Message, Row, Threshold};
use crate::render::Slice;

/// Longest line that is taken over, in bytes.
const MOST_BYTES: usize = 1024;
/// Most lines of one task, or of a device's batch: a damaged file can make a decoder complain about every packet.
const MOST_LINES: u64 = 200;

impl Threshold {
    /// What this process logs now.
    pub fn current() -> Self {
        let filter = LevelFilter::current();
        Self(LEVELS.iter().filter(|level| filter >= **level).count() as u8)
    }
}

const LEVELS: [Level; 5] = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];

/// Takes over the log of one task or batch: no more and no longer lines than it should have sent.
pub struct Repeat {
    task: &'static str,
    left: u64,
}

impl Repeat {
    pub fn of(task: &'static str) -> Self {
        Self { task, left: MOST_LINES }
    }

    /// Logs a line in this process.
    pub fn line(&mut self, line: &Line) {
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            line.repeat(self.task);
        }
    }
}

impl Line {
    /// Logs it in this process, as a line of a task named `task`.
    fn repeat(&self, task: &'static str) {
        let text = &self.text[..self.text.floor_char_boundary(MOST_BYTES.min(self.text.len()))];
        match self.level {
            0 => tracing::error!(task, "{text}"),
            1 => tracing::warn!(task, "{text}"),
            2 => tracing::info!(task, "{text}"),
            _ => tracing::debug!(task, "{text}"),
        }
    }
}

/// Sends what is logged in this process to its owner, and, where that is asked for, when a thread begins and ends what a
/// trace shows.
pub struct Forward {
    to: Box<dyn Fn(Message) + Send + Sync>,
    threshold: Threshold,
    trace: bool,
    most_lines: u64,
    lines: AtomicU64,
}

impl Forward {
    /// Of a render process, whose owner is at the other end of `to`.
    pub fn of_task(to: Arc<Channel>, threshold: Threshold, trace: bool) -> Self {
        // An owner that is gone reads no log and traces nothing.
        let send = move |message| drop(to.send(&message));
        Self { to: Box::new(send), threshold, trace, most_lines: MOST_LINES, lines: AtomicU64::new(0) }
    }

    /// Of a device process, which lives for many batches: its owner bounds the lines of each.
    pub fn of_device(to: Arc<Channel>, threshold: Threshold) -> Self {
        let send = move |message| {
            if let Message::Log(line) = message {
                // An owner that is gone reads no log.
                let _ = to.send(&DeviceMessage::Log(line));
            }
        };
        Self { to: Box::new(send), threshold, trace: false, most_lines: u64::MAX, lines: AtomicU64::new(0) }
    }

    fn slice(&self, id: &span::Id, begins: bool) {
        let decodes = std::thread::current().name().is_some_and(|name| name.starts_with("decode"));
        let row = if decodes { Row::Decoder } else { Row::Main };
        if let Some(slice) = slice_of(id) {
            (self.to)(Message::Trace { row, slice, begins });
        }
    }
}

/// Spans of one slice share an id: its place, from 1, after those that are none.
fn id_of(slice: Option<Slice>) -> span::Id {
    span::Id::from_u64(slice.map_or(1, |slice| slice as u64 + 2))
}

fn slice_of(id: &span::Id) -> Option<Slice> {
    Slice::ALL.into_iter().find(|slice| id_of(Some(*slice)) == *id)
}

impl Subscriber for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        match metadata.is_event() {
            true => LEVELS.iter().take(self.threshold.0.into()).any(|level| level == metadata.level()),
            false => self.trace && Slice::of(metadata.name()).is_some(),
        }
    }

    fn event(&self, event: &Event<'_>) {
        if self.lines.fetch_add(1, Ordering::Relaxed) >= self.most_lines {
            return;
        }
        let mut text = Text(format!("{}: ", event.metadata().target()));
        event.record(&mut text);
        let level = LEVELS.iter().position(|level| level == event.metadata().level()).unwrap_or(LEVELS.len());
        (self.to)(Message::Log(Line { level: level as u8, text: text.0 }));
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        if self.trace {
            return Some(LevelFilter::TRACE);
        }
        let level = usize::from(self.threshold.0).checked_sub(1).and_then(|last| LEVELS.get(last));
        Some(level.map_or(LevelFilter::OFF, |level| LevelFilter::from_level(*level)))
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        id_of(Slice::of(span.metadata().name()))
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, id: &span::Id) {
        self.slice(id, true);
    }

    fn exit(&self, id: &span::Id) {
        self.slice(id, false);
    }
}

/// The message and fields of an event, as text.
struct Text(String);

impl Text {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // Writing into a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value}"),
            name => write!(self.0, " {name}={value}"),
        };
        let end = self.0.floor_char_boundary(MOST_BYTES.min(self.0.len()));
        self.0.truncate(end);
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}
