//! An index of a part of a file, for work that needs no more of it.

use std::path::Path;

use crate::error::Result;
use crate::index::{FrameIndex, build_index};
use crate::input;
use crate::joins;
use crate::memory;
use crate::packets::{Packets, Stamp};

/// Packets that are read to find the time of the video's first frame: more than any encoder reorders.
const HEAD: usize = 64;

/// Seconds past the end that are read too, so that the last frame's successor is known.
const MARGIN: f64 = 1.0;

/// Indexes the first frames of a video, and the frames from the key frame before `start` to a little after `end`, in
/// seconds from the first frame. Between the two nothing is read, so this takes no longer for hours than for minutes.
///
/// Frames keep their times, not their numbers. What does not start with a key frame, has no presentation times, cannot be
/// sought, or is of a container whose time stamps may restart, is indexed whole.
///
/// # Errors
/// As [`build_index`].
pub fn build_index_around(path: &Path, start: f64, end: f64) -> Result<FrameIndex> {
    let around = window(path, start, end);
    memory::return_to_system();
    match around? {
        Some(index) => Ok(index),
        None => build_index(path),
    }
}

fn window(path: &Path, start: f64, end: f64) -> Result<Option<FrameIndex>> {
    let mut source = input::open(path)?;
    // What the stamps of a part stand for is known only when all were read.
    if joins::are_possible(source.format().name()) {
        return Ok(None);
    }
    let stream = input::video_stream(&source)?;
    input::check_size(&source.stream(stream).expect("the index comes from this file"))?;
    let head = Packets::read_while(&mut source, stream, |facts| facts.len() < HEAD);
    let stamps = head.stamps(Stamp::Pts);
    let (Some(&first), Stamp::Pts, true) = (stamps.first(), head.stamp(), head.starts_with_key()) else {
        return Ok(None);
    };
    let tick = |seconds: f64| first.saturating_add(head.ticks(seconds));
    if input::seek(&mut source, stream, tick(start)).is_err() {
        return Ok(None);
    }
    let last = tick(end + MARGIN);
    let around = Packets::read_while(&mut source, stream, |facts| {
        facts.last().and_then(|fact| fact.dts.or(fact.pts)).is_none_or(|dts| dts <= last)
    });
    let begun = around.stamps(Stamp::Pts).first().copied();
    if !around.starts_with_key() || around.stamp() != Stamp::Pts || begun.is_none_or(|begun| begun > tick(start)) {
        return Ok(None);
    }
    let whole = around.after(head);
    let shown = whole.stamps(Stamp::Pts);
    whole.index(stream, Stamp::Pts, shown, None, Vec::new()).map(Some)
}
