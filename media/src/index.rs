//! Which frames a video shows, when, and where decoding can start.
//!
//! The index is read from packets, without decoding: edit lists are honoured (hidden packets are no frames), B-frames
//! are sorted by their presentation time stamps. The first frames are decoded as a check, which also finds the first
//! decodable one. Where packets do not suffice (no time stamps with reordered frames, two fields in two packets), the
//! whole stream is decoded once instead.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use edits::{FrameTimes, Rat};
use ffmpeg_next as av;
use ffmpeg_next::frame;

use crate::error::{MediaError, Result};
use crate::feed::Feeder;
use crate::input::{self, Stop, check_stop};
use crate::joins::{Found, Joins};
use crate::packets::{Packets, Stamp, stamp_packet};
use crate::source::Source;
use crate::stream::Parameters;

/// Frames that are decoded to check the packets' time stamps.
const CHECKED_FRAMES: usize = 24;

/// The frames of a video in display order, and where decoding can start.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameIndex {
    /// Presentation time of every frame.
    pub times: Arc<FrameTimes>,
    /// Frames at which decoding can start, in rising order.
    pub keyframes: Vec<usize>,
    /// What was found wrong with the stream.
    pub warnings: Vec<String>,
    pub(crate) stream: usize,
    pub(crate) stamp: Stamp,
    /// Seek points, in rising order of stamps.
    pub(crate) keys: Vec<Key>,
    /// The stamp of each frame, where that is not its presentation time.
    pub(crate) stamps: Option<Vec<i64>>,
    /// Where the file's own stamps restart or leap; all times here are on the joined time line.
    pub(crate) joins: Option<Arc<Joins>>,
    /// Stream of the sound, where the first packets of the file do not show what it is or that it is there.
    pub(crate) late_sound: Option<usize>,
}

/// A packet at which decoding can start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub stamp: i64,
    pub dts: i64,
    /// The first frame in display order that can be decoded from here.
    pub frame: usize,
}

/// Reads the index of the video stream of a file. Costs one pass over the file's packets.
///
/// # Errors
/// As [`crate::probe()`]; `undecodable` also when no frame can be decoded.
pub fn build_index(path: &Path) -> Result<FrameIndex> {
    build_index_unless(path, &input::never)
}

/// [`build_index`] that ends early once `stop` says so, which is asked before every packet. Time and memory grow with
/// the number of packets and no faster.
///
/// # Errors
/// As [`build_index`]; [`MediaError::Cancelled`] when it was stopped; `unreadable` for more than ten million frames.
pub fn build_index_unless(path: &Path, stop: &Stop) -> Result<FrameIndex> {
    let mut source = input::open_unknown(path)?;
    let stream = input::video_stream(&source)?;
    input::check_size(&source.stream(stream).expect("the index comes from this file"))?;
    let (packets, found) = Packets::read(&mut source, stream, stop)?;
    let stamp = packets.stamp();
    let delay = Parameters::of(&source.stream(stream).expect("the index comes from this file")).video_delay;
    let mut warnings = packets.warnings(path, &source, stream);
    let late_sound = packets.late_sound(&source);
    if late_sound.is_none() && input::has_broken_sound(&source) {
        warnings.push("the sound cannot be decoded and is left out".to_owned());
    }
    drop(source);
    let joins = found.map(|found| {
        warnings.extend(describe(&found));
        Arc::new(found.joins)
    });

    let ordered = packets.stamps(stamp);
    let reordered_unseen = stamp != Stamp::Pts && delay > 0;
    let decode = |limit| {
        let source = Source::open(path, joins.clone())?;
        decoded_stamps(source, stream, stamp, limit, stop)
    };
    let (head, fields) = decode(Some(CHECKED_FRAMES))?;
    if fields {
        warnings.push("each picture is one field of an interlaced film: they are shown at half height".to_owned());
    }
    let Some(&first) = head.first() else {
        return Err(MediaError::refused("undecodable", "no frame of the video stream can be decoded"));
    };
    let (shown, stamps) = if reordered_unseen || !agrees(&head, &ordered) {
        let (decoded, _) = decode(None)?;
        let mut shown = decoded.clone();
        shown.sort_unstable();
        shown.dedup();
        let stamps = (shown.len() == decoded.len() && shown != decoded).then_some(decoded);
        (shown, stamps)
    } else {
        let left_out = ordered.iter().take_while(|&&stamp| stamp < first).count();
        if left_out > 0 {
            warnings.push(format!(
                "the stream starts in the middle of a group of pictures: {left_out} undecodable frames are left out"
            ));
        }
        (ordered[left_out..].to_vec(), None)
    };
    let index = packets.index(stream, stamp, shown, stamps, warnings)?;
    Ok(FrameIndex { joins, late_sound, ..index })
}

/// What was found about a file's time stamps, in words.
fn describe(found: &Found) -> Vec<String> {
    let mut warnings = Vec::new();
    if found.restarts > 0 {
        let places = if found.restarts == 1 { "one place".to_owned() } else { format!("{} places", found.restarts) };
        warnings
            .push(format!("the time stamps restart or leap in {places}: what follows is joined to what came before"));
    }
    if found.strays > 0 {
        let frames =
            if found.strays == 1 { "one frame has".to_owned() } else { format!("{} frames have", found.strays) };
        warnings.push(format!("{frames} a time stamp far from those around and follow the frame before"));
    }
    warnings
}

/// Reads the index of a file of this crate's own making, whose packets are trusted: nothing is decoded.
pub(crate) fn own_index(path: &Path) -> Result<FrameIndex> {
    let mut source = input::open(path)?;
    let stream = input::video_stream(&source)?;
    let (packets, _) = Packets::read(&mut source, stream, &input::never)?;
    let warnings = packets.warnings(path, &source, stream);
    let shown = packets.stamps(Stamp::Pts);
    packets.index(stream, Stamp::Pts, shown, None, warnings)
}

/// Whether decoding gave what the packets promise: the same frames in the same order, but for a few damaged ones.
fn agrees(decoded: &[i64], promised: &[i64]) -> bool {
    let (Some(first), Some(last)) = (decoded.first(), decoded.last()) else {
        return false;
    };
    let (Ok(from), Ok(to)) = (promised.binary_search(first), promised.binary_search(last)) else {
        return false;
    };
    let rising = decoded.is_sorted_by(|a, b| a < b);
    let known = decoded.iter().all(|stamp| promised.binary_search(stamp).is_ok());
    rising && known && (to - from + 1) - decoded.len() <= decoded.len() / 8
}

/// Decodes from the start and returns the frames' stamps in display order, all or the first `limit`, and whether these frames
/// are single fields.
fn decoded_stamps(
    mut source: Source,
    stream: usize,
    stamp: Stamp,
    limit: Option<usize>,
    stop: &Stop,
) -> Result<(Vec<i64>, bool)> {
    let mut feeder = Feeder::of(&source.stream(stream).expect("the same file has the same streams"));
    let mut decoder =
        input::decoder(&source.stream(stream).expect("the same file has the same streams"), 2)?.video().map_err(
            |error| MediaError::refused("undecodable", format!("the video stream cannot be decoded: {error}")),
        )?;
    let mut packet = av::Packet::empty();
    let mut frame = frame::Video::empty();
    let stores_fields = input::stores_fields(&source.stream(stream).expect("the same file has the same streams"));
    let (mut stamps, mut fields) = (Vec::new(), false);
    let (mut damaged, mut number, mut draining) = (0, 0, false);
    while !draining && limit.is_none_or(|limit| stamps.len() < limit) {
        if source.read_unless(stream, &mut packet, &mut damaged, stop) {
            stamp_packet(&mut packet, stamp, &mut number);
            // A refused packet is a damaged one: its frame will be missing.
            let _ = feeder.send(&mut decoder, &packet);
        } else {
            draining = true;
            let _ = decoder.send_eof();
        }
        while decoder.receive_frame(&mut frame).is_ok() {
            stamps.extend(frame.pts());
            fields |= stores_fields && frame.is_interlaced();
        }
    }
    if let Some(limit) = limit {
        stamps.truncate(limit);
    }
    check_stop(stop)?;
    Ok((stamps, fields))
}

impl Packets {
    /// The index of these packets, of which the frames `shown` are displayed.
    pub fn index(
        &self,
        stream: usize,
        stamp: Stamp,
        shown: Vec<i64>,
        stamps: Option<Vec<i64>>,
        warnings: Vec<String>,
    ) -> Result<FrameIndex> {
        let unit = if stamp == Stamp::Order { self.frame_ticks } else { 1 };
        let last = *shown
            .last()
            .ok_or_else(|| MediaError::refused("undecodable", "no frame of the video stream can be decoded"))?;
        let last_ticks = (0..self.facts.len())
            .find(|&number| self.stamp_of(number, stamp) == Some(last))
            .map(|number| self.facts[number].duration)
            .filter(|&ticks| ticks > 0)
            .unwrap_or(self.frame_ticks);
        let last_ticks = self.last_ticks(last, last_ticks, stamp);
        let keys = self.keys(stamp, &shown, stamps.as_deref());
        let mut keyframes: Vec<usize> = keys.iter().map(|key| key.frame).collect();
        keyframes.dedup();
        let shift = self.shift(stamp, unit, &shown, stamps.as_deref());
        let pts: Vec<i64> = shown.iter().map(|stamp| stamp.saturating_mul(unit).saturating_add(shift)).collect();
        let end = last.saturating_mul(unit).saturating_add(shift).saturating_add(last_ticks);
        let time_base = (self.time_base.numerator(), self.time_base.denominator());
        let times = FrameTimes::new(time_base, pts, end)
            .map_err(|error| MediaError::codec("reading the frame times", error))?;
        Ok(FrameIndex {
            times: Arc::new(times),
            keyframes,
            warnings,
            stream,
            stamp,
            keys,
            stamps: stamps.or_else(|| (unit != 1 || shift != 0).then_some(shown)),
            joins: None,
            late_sound: None,
        })
    }

    /// Ticks from a frame's place by other stamps to its presentation time, which the first packet of a program stream
    /// has, and sound is placed by it. 0 where it has none.
    fn shift(&self, stamp: Stamp, unit: i64, shown: &[i64], stamps: Option<&[i64]>) -> i64 {
        let shift = || {
            let (pts, named) = (self.facts.first()?.pts?, self.stamp_of(0, stamp)?);
            let place = match stamps {
                Some(stamps) => stamps.iter().position(|&stamp| stamp == named)?,
                None => shown.binary_search(&named).ok()?,
            };
            pts.checked_sub(shown[place].checked_mul(unit)?)
        };
        if stamp == Stamp::Pts { 0 } else { shift().unwrap_or(0) }
    }

    /// Seek points: key packets, with the first frame at or after each in display order. Frames that follow a key
    /// packet but are shown before it (leading pictures of an open GOP) belong to the one before.
    fn keys(&self, stamp: Stamp, shown: &[i64], stamps: Option<&[i64]>) -> Vec<Key> {
        // The first of equal stamps counts, hence from the back.
        let places: Option<HashMap<i64, usize>> =
            stamps.map(|stamps| stamps.iter().enumerate().rev().map(|(place, &stamp)| (stamp, place)).collect());
        let place = |key: i64| match &places {
            Some(places) => places.get(&key).copied().unwrap_or(0),
            None => shown.partition_point(|&stamp| stamp < key),
        };
        let mut keys: Vec<Key> = (0..self.facts.len())
            .filter(|&number| self.facts[number].key)
            .filter_map(|number| {
                let key = self.stamp_of(number, stamp)?;
                Some(Key { stamp: key, dts: self.facts[number].dts.unwrap_or(key), frame: place(key) })
            })
            .filter(|key| key.frame < shown.len())
            .collect();
        keys.sort_by_key(|key| key.frame);
        keys
    }
}

impl FrameIndex {
    /// Number of frames.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there is no frame; an index that was built has at least one.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Seconds on the file's own clock at which the first frame is displayed: time 0 of every edit.
    pub fn start(&self) -> Rat {
        Rat::from(i128::from(self.times.pts()[0])) * self.times.time_base()
    }

    /// Whether there is sound that [`crate::Probe`] does not know of, because it begins behind the first packets.
    pub fn has_late_sound(&self) -> bool {
        self.late_sound.is_some()
    }

    /// Number of the group of pictures that holds frame `n`: frames of one number are decoded from the same key frame.
    pub fn group_of(&self, n: usize) -> usize {
        self.key_for(n)
    }

    /// Number of the seek point from which frame `n` is decoded.
    pub(crate) fn key_for(&self, n: usize) -> usize {
        self.keys.partition_point(|key| key.frame <= n).saturating_sub(1)
    }
}
