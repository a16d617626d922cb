//! What the threads of a render process do, in this node's trace: each on a thread here that has the name of its row.

use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use tracing::Span;
use tracing::span::EnteredSpan;

use super::message::Row;
use crate::render::Slice;

/// The rows of one process. The main one is the thread that made this; the decoder's comes with its first slice.
pub(super) struct Rows {
    main: Open,
    decoder_name: String,
    decoder: Option<Mirror>,
}

/// The slices that are open on this thread, the innermost last.
#[derive(Default)]
struct Open(Vec<EnteredSpan>);

/// Slices lie within few others; a process that says otherwise is not followed.
const DEEPEST: usize = 16;

/// A thread that stands for one of the process.
struct Mirror {
    slices: Sender<(Slice, bool)>,
    thread: JoinHandle<()>,
}

impl Rows {
    pub fn new(decoder_name: String) -> Self {
        Self { main: Open::default(), decoder_name, decoder: None }
    }

    /// A slice begins or ends.
    pub fn follow(&mut self, row: Row, slice: Slice, begins: bool) {
        match row {
            Row::Main => self.main.follow(slice, begins),
            Row::Decoder => {
                if self.decoder.is_none() {
                    self.decoder = Mirror::start(&self.decoder_name);
                }
                if let Some(decoder) = &self.decoder {
                    // It ends after this.
                    let _ = decoder.slices.send((slice, begins));
                }
            }
        }
    }
}

impl Open {
    fn follow(&mut self, slice: Slice, begins: bool) {
        match begins {
            true if self.0.len() < DEEPEST => self.0.push(slice.span().entered()),
            true => {}
            false => drop(self.0.pop()),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Spans are left in the order opposite to that in which they were entered.
        while self.0.pop().is_some() {}
    }
}

impl Mirror {
    /// None where no thread can be started: a trace lacks a row then.
    fn start(name: &str) -> Option<Self> {
        let (slices, received) = channel();
        let span = Span::current();
        let follow = move || {
            let _job = span.entered();
            let mut open = Open::default();
            received.into_iter().for_each(|(slice, begins)| open.follow(slice, begins));
        };
        let thread = thread::Builder::new().name(name.to_owned()).spawn(follow).ok()?;
        Some(Self { slices, thread })
    }
}

impl Drop for Rows {
    fn drop(&mut self) {
        if let Some(Mirror { slices, thread }) = self.decoder.take() {
            drop(slices);
            // It only leaves spans.
            let _ = thread.join();
        }
    }
}
