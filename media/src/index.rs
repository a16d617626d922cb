//! Which frames a video shows, when, and where decoding can start.
//!
//! The index is read from packets, without decoding: edit lists are honoured (hidden packets are no frames), B-frames
//! are sorted by their presentation time stamps. The first frames are decoded as a check, which also finds the first
//! decodable one. Where packets do not suffice (no time stamps with reordered frames, two fields in two packets), the
//! whole stream is decoded once instead.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use edits::{FrameTimes, Rat};
use ffmpeg_next as av;
use ffmpeg_next::{format, frame};

use crate::claims::MAX_FRAMES;
use crate::error::{MediaError, Result};
use crate::input::{self, Stop};
use crate::limits::PacketGuard;
use crate::stream::Parameters;
use crate::tail;

/// Frames that are decoded to check the packets' time stamps.
const CHECKED_FRAMES: usize = 24;

/// One packet in this many may lack its presentation time (a damaged one); where more do, the container has none.
const MOST_WITHOUT_PTS: usize = 20;

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
}

/// The number that names a packet and, after the decoder, its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamp {
    /// Presentation time stamp: nearly every file.
    Pts,
    /// Decoding time stamp, where the container has no other (AVI).
    Dts,
    /// Number of the packet, where the container has neither (raw streams); nothing can be sought then.
    Order,
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
    let packets = Packets::read(&mut source, stream, stop)?;
    let stamp = packets.stamp();
    let delay = Parameters::of(&source.stream(stream).expect("the index comes from this file")).video_delay;
    let mut warnings = packets.warnings(path, &source, stream);
    if input::has_broken_sound(&source) {
        warnings.push("the sound cannot be decoded and is left out".to_owned());
    }
    drop(source);

    let ordered = packets.stamps(stamp);
    let reordered_unseen = stamp != Stamp::Pts && delay > 0;
    let head = decoded_stamps(path, stream, stamp, Some(CHECKED_FRAMES), stop)?;
    let Some(&first) = head.first() else {
        return Err(MediaError::refused("undecodable", "no frame of the video stream can be decoded"));
    };
    let (shown, stamps) = if reordered_unseen || !agrees(&head, &ordered) {
        let decoded = decoded_stamps(path, stream, stamp, None, stop)?;
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
    packets.index(stream, stamp, shown, stamps, warnings)
}

/// Reads the index of a file of this crate's own making, whose packets are trusted: nothing is decoded.
pub(crate) fn own_index(path: &Path) -> Result<FrameIndex> {
    let mut source = input::open(path)?;
    let stream = input::video_stream(&source)?;
    let packets = Packets::read(&mut source, stream, &input::never)?;
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

/// Decodes from the start and returns the frames' stamps in display order, all or the first `limit`.
fn decoded_stamps(path: &Path, stream: usize, stamp: Stamp, limit: Option<usize>, stop: &Stop) -> Result<Vec<i64>> {
    let mut source = input::open(path)?;
    let guard = PacketGuard::of(&source.stream(stream).expect("the same file has the same streams"));
    let mut decoder =
        input::decoder(&source.stream(stream).expect("the same file has the same streams"), 2)?.video().map_err(
            |error| MediaError::refused("undecodable", format!("the video stream cannot be decoded: {error}")),
        )?;
    let mut packet = av::Packet::empty();
    let mut frame = frame::Video::empty();
    let mut stamps = Vec::new();
    let (mut damaged, mut number, mut draining) = (0, 0, false);
    while !draining && limit.is_none_or(|limit| stamps.len() < limit) {
        if input::read_unless(&mut source, stream, &mut packet, &mut damaged, stop) {
            stamp_packet(&mut packet, stamp, &mut number);
            // A refused packet is a damaged one: its frame will be missing.
            if !guard.is_flood(&packet) {
                let _ = decoder.send_packet(&packet);
            }
        } else {
            draining = true;
            let _ = decoder.send_eof();
        }
        while decoder.receive_frame(&mut frame).is_ok() {
            stamps.extend(frame.pts());
        }
    }
    if let Some(limit) = limit {
        stamps.truncate(limit);
    }
    check_stop(stop)?;
    Ok(stamps)
}

fn check_stop(stop: &Stop) -> Result<()> {
    if stop() { Err(MediaError::Cancelled) } else { Ok(()) }
}

/// Writes a packet's stamp where the decoder carries it to the frame.
pub(crate) fn stamp_packet(packet: &mut av::Packet, stamp: Stamp, number: &mut i64) {
    match stamp {
        Stamp::Pts => {}
        Stamp::Dts => packet.set_pts(packet.dts()),
        Stamp::Order => {
            packet.set_pts(Some(*number));
            *number += 1;
        }
    }
}

/// What the index needs of one packet.
pub(crate) struct PacketFacts {
    pub pts: Option<i64>,
    pub dts: Option<i64>,
    duration: i64,
    key: bool,
    hidden: bool,
}

/// Packets of the stream, in decoding order: all, or a stretch of them.
pub(crate) struct Packets {
    facts: Vec<PacketFacts>,
    time_base: av::Rational,
    frame_ticks: i64,
    damaged: u64,
}

impl Packets {
    fn read(source: &mut format::context::Input, stream: usize, stop: &Stop) -> Result<Self> {
        let packets = Self::read_until(source, stream, stop, |facts| facts.len() <= MAX_FRAMES as usize);
        check_stop(stop)?;
        if packets.facts.len() > MAX_FRAMES as usize {
            return Err(MediaError::refused("unreadable", format!("the video has more than {MAX_FRAMES} frames")));
        }
        Ok(packets)
    }

    /// Reads on from where the source is, as long as `more` is true of what was read.
    pub fn read_while(
        source: &mut format::context::Input,
        stream: usize,
        more: impl Fn(&[PacketFacts]) -> bool,
    ) -> Self {
        Self::read_until(source, stream, &input::never, more)
    }

    fn read_until(
        source: &mut format::context::Input,
        stream: usize,
        stop: &Stop,
        more: impl Fn(&[PacketFacts]) -> bool,
    ) -> Self {
        let rate = input::frame_rate(source, stream);
        let time_base = source.stream(stream).expect("the index comes from this file").time_base();
        let frame_ticks = (f64::from(rate.den) / f64::from(rate.num) / f64::from(time_base)).round() as i64;
        let mut packet = av::Packet::empty();
        let (mut facts, mut damaged) = (Vec::new(), 0);
        while more(&facts) && input::read_unless(source, stream, &mut packet, &mut damaged, stop) {
            damaged += u64::from(packet.is_corrupt());
            facts.push(PacketFacts {
                pts: packet.pts(),
                dts: packet.dts(),
                duration: packet.duration(),
                key: packet.is_key(),
                hidden: input::is_discarded(&packet),
            });
        }
        Self { facts, time_base, frame_ticks: frame_ticks.max(1), damaged }
    }

    pub fn starts_with_key(&self) -> bool {
        self.facts.first().is_some_and(|fact| fact.key)
    }

    /// Ticks of the stream, from seconds.
    pub fn ticks(&self, seconds: f64) -> i64 {
        (seconds / f64::from(self.time_base)).floor() as i64
    }

    /// `head`'s packets and, of these, those that come after them.
    pub fn after(mut self, mut head: Self) -> Self {
        let decoded = |fact: &PacketFacts| fact.dts.or(fact.pts);
        let passed = head.facts.last().and_then(decoded);
        self.facts.retain(|fact| decoded(fact) > passed);
        head.facts.append(&mut self.facts);
        head
    }

    pub fn stamp(&self) -> Stamp {
        let count = |has: fn(&PacketFacts) -> bool| self.facts.iter().filter(|fact| has(fact)).count();
        let distinct: BTreeSet<_> = self.facts.iter().filter_map(|fact| fact.dts).collect();
        if count(|fact| fact.pts.is_none()) * MOST_WITHOUT_PTS < self.facts.len() {
            Stamp::Pts
        } else if distinct.len() == self.facts.len() {
            Stamp::Dts
        } else {
            Stamp::Order
        }
    }

    fn stamp_of(&self, number: usize, stamp: Stamp) -> Option<i64> {
        match stamp {
            Stamp::Pts => self.facts[number].pts,
            Stamp::Dts => self.facts[number].dts,
            Stamp::Order => Some(number as i64),
        }
    }

    /// The stamps of shown frames, sorted.
    pub fn stamps(&self, stamp: Stamp) -> Vec<i64> {
        let mut stamps: Vec<i64> = (0..self.facts.len())
            .filter(|&number| !self.facts[number].hidden)
            .filter_map(|number| self.stamp_of(number, stamp))
            .collect();
        stamps.sort_unstable();
        stamps.dedup();
        stamps
    }

    fn warnings(&self, path: &Path, source: &format::context::Input, stream: usize) -> Vec<String> {
        let container = source.format().name().to_owned();
        let found = self.facts.len() as i64;
        // Only MP4 counts every frame; in AVI a frame may be announced and left out on purpose.
        let announced = if container.contains("mp4") { source.stream(stream).map_or(0, |s| s.frames()) } else { 0 };
        if announced > found {
            return vec![format!("the file is cut short: {found} of {announced} frames are there")];
        }
        if tail::is_missing(path, &container) {
            return vec![format!("the file is cut short: {found} frames are there")];
        }
        match self.damaged {
            0 => Vec::new(),
            places => vec![format!("the file is damaged in {places} places")],
        }
    }

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
        let keys = self.keys(stamp, &shown, stamps.as_deref());
        let mut keyframes: Vec<usize> = keys.iter().map(|key| key.frame).collect();
        keyframes.dedup();
        let shift = self.shift(stamp, unit, &shown, stamps.as_deref());
        let pts: Vec<i64> = shown.iter().map(|stamp| stamp * unit + shift).collect();
        let end = last * unit + shift + last_ticks;
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

    /// Number of the group of pictures that holds frame `n`: frames of one number are decoded from the same key frame.
    pub fn group_of(&self, n: usize) -> usize {
        self.key_for(n)
    }

    /// Number of the seek point from which frame `n` is decoded.
    pub(crate) fn key_for(&self, n: usize) -> usize {
        self.keys.partition_point(|key| key.frame <= n).saturating_sub(1)
    }
}
