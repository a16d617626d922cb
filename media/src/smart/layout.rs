//! Where a stream can be cut.

use std::ops::Range;
use std::path::Path;

use edits::Rat;
use ffmpeg_next as av;
use ffmpeg_next::{codec, format};
use serde::{Deserialize, Serialize};

use super::matching::Manner;
use crate::h264::{self, AvcRecord};
use crate::index::FrameIndex;
use crate::input;
use crate::output;
use crate::packets::Stamp;
use crate::reorder::DecodingTimes;
use crate::shape::StreamShape;
use crate::timed::TimedSettings;

/// Reorder depth beyond which H.264 does not go.
const DEEPEST: usize = 16;

/// The stretches of a video and the manner of its stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SmartLayout {
    pub(super) stretches: Vec<Stretch>,
    /// Decoding time of every packet.
    pub(super) decoding_times: Vec<i64>,
    pub(super) record: AvcRecord,
    pub(super) shape: StreamShape,
    pub(super) manner: Manner,
}

/// From one IDR to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stretch {
    /// In decoding order.
    pub packets: Range<usize>,
    /// In display order. Fewer than packets where some are hidden by an edit list.
    pub frames: Range<usize>,
}

/// What the layout needs of one packet of the source.
struct Scanned {
    pts: i64,
    dts: Option<i64>,
    idr: bool,
    hidden: bool,
}

/// Finds the stretches of a video that can be rendered by themselves.
///
/// # Errors
/// A sentence that says why the whole video must be rendered: the codec is not H.264 with parameter sets in the
/// header, pictures are not plain ([`StreamShape::not_plain`]), the sound does not fit into MP4, packets lack times,
/// or x264 has no mode like the stream's.
pub fn smart_layout(path: &Path, index: &FrameIndex) -> Result<SmartLayout, String> {
    let shape = StreamShape::read(path, index).map_err(|error| error.to_string())?;
    if let Some(why) = shape.not_plain {
        return Err(why);
    }
    if index.stamp != Stamp::Pts || index.stamps.is_some() {
        return Err("packets do not say when their frames are shown".to_owned());
    }
    if index.joins.is_some() {
        return Err("the time stamps restart".to_owned());
    }
    if !index.warnings.is_empty() {
        return Err(format!("the stream is damaged: {}", index.warnings.join("; ")));
    }
    let mut source = input::open(path).map_err(|error| error.to_string())?;
    let stream = source.stream(index.stream).ok_or("the index belongs to another file")?;
    if stream.parameters().id() != codec::Id::H264 {
        return Err(format!("the codec is {}, not H.264", stream.parameters().id().name()));
    }
    let record = AvcRecord::parse(&output::extradata(&stream))
        .filter(|record| record.length_size == 4)
        .ok_or("parameter sets are not in the container's header")?;
    let mut manner = Manner::of(&record)?;
    if manner.size != (shape.width, shape.height) {
        return Err("the container shows another part of the pictures than the stream says".to_owned());
    }
    let packets = scan(&mut source, index, &record)?;
    let stretches = stretches(&packets, index)?;
    let decoding_times = decoding_times(&packets, index, manner.reorder)?;
    let fitting = (0..=2).rev().find(|&depth| fits(&stretches, &decoding_times, index, depth));
    let fitting = fitting.ok_or("decoding times leave a frame no time to be decoded")?;
    manner.reorder = Some(manner.reorder.map_or(fitting, |own| own.min(fitting)));
    manner.tick = manner.tick.filter(|&(num, den, _)| on_clock(index, (num, den)));
    Ok(SmartLayout { stretches, decoding_times, record, shape, manner })
}

fn scan(source: &mut format::context::Input, index: &FrameIndex, record: &AvcRecord) -> Result<Vec<Scanned>, String> {
    let (mut packet, mut damaged) = (av::Packet::empty(), 0);
    let mut packets = Vec::new();
    while input::read(source, index.stream, &mut packet, &mut damaged) {
        let mut idr = false;
        for unit in h264::units(packet.data().unwrap_or_default(), record.length_size) {
            match h264::kind(unit) {
                h264::IDR_SLICE => idr = true,
                h264::SLICE_PARTITIONS_FIRST..=h264::SLICE_PARTITIONS_LAST => {
                    return Err("slices are split into partitions".to_owned());
                }
                h264::SPS if !record.sps.iter().any(|set| set == unit) => {
                    return Err("parameter sets change within the stream".to_owned());
                }
                h264::PPS if !record.pps.iter().any(|set| set == unit) => {
                    return Err("parameter sets change within the stream".to_owned());
                }
                _ => {}
            }
        }
        let pts = packet.pts().ok_or("a packet does not say when its frame is shown")?;
        packets.push(Scanned { pts, dts: packet.dts(), idr, hidden: input::is_discarded(&packet) });
    }
    if damaged > 0 {
        return Err("the file is damaged".to_owned());
    }
    hidden_only_at_ends(&packets, index)?;
    Ok(packets)
}

/// What an edit list hides must lie before time 0 or behind the last frame: only that can be expressed in the new file.
fn hidden_only_at_ends(packets: &[Scanned], index: &FrameIndex) -> Result<(), String> {
    let pts = index.times.pts();
    let (first, last) = (pts[0], pts[pts.len() - 1]);
    let mut hidden = packets.iter().filter(|packet| packet.hidden);
    if hidden.any(|packet| packet.pts >= 0.min(first) && packet.pts <= last) {
        return Err("an edit list hides pictures between others".to_owned());
    }
    let shown = |packet: &&Scanned| !packet.hidden && pts.binary_search(&packet.pts).is_err();
    if packets.iter().find(shown).is_some() {
        return Err("the stream starts in the middle of a group of pictures".to_owned());
    }
    Ok(())
}

fn stretches(packets: &[Scanned], index: &FrameIndex) -> Result<Vec<Stretch>, String> {
    let mut starts: Vec<usize> = (0..packets.len()).filter(|&number| packets[number].idr || number == 0).collect();
    starts.push(packets.len());
    let pts = index.times.pts();
    let mut stretches: Vec<Stretch> = Vec::new();
    for pair in starts.windows(2) {
        let own = pair[0]..pair[1];
        let shown = packets[own.clone()].iter().filter(|packet| !packet.hidden);
        let mut frames: Vec<usize> = shown.filter_map(|packet| pts.binary_search(&packet.pts).ok()).collect();
        frames.sort_unstable();
        let begin = stretches.last().map_or(0, |before| before.frames.end);
        if !frames.iter().copied().eq(begin..begin + frames.len()) {
            return Err("pictures are shown across an IDR, or several at one time".to_owned());
        }
        stretches.push(Stretch { packets: own, frames: begin..begin + frames.len() });
    }
    if stretches.last().is_none_or(|last| last.frames.end != index.len()) {
        return Err("packets and frames do not agree".to_owned());
    }
    Ok(stretches)
}

/// The container's decoding times, or where it has none (Matroska), those that follow from the display times.
fn decoding_times(packets: &[Scanned], index: &FrameIndex, depth: Option<usize>) -> Result<Vec<i64>, String> {
    let stored: Option<Vec<i64>> = packets.iter().map(|packet| packet.dts).collect();
    if let Some(stored) = stored {
        let rising = stored.is_sorted_by(|a, b| a < b);
        if rising && stored.iter().zip(packets).all(|(&dts, packet)| dts <= packet.pts) {
            return Ok(stored);
        }
    }
    let frame = (index.times.end() - index.times.pts()[0]) / index.len() as i64;
    let derived = (depth.unwrap_or(0)..=DEEPEST).find_map(|depth| {
        let mut times = DecodingTimes::new(depth, frame);
        packets.iter().map(|packet| times.next(packet.pts)).collect()
    });
    derived.ok_or_else(|| "packets have no usable decoding times".to_owned())
}

/// Whether frames reordered by up to `depth` can be decoded in every stretch at the times its packets have.
fn fits(stretches: &[Stretch], decoding_times: &[i64], index: &FrameIndex, depth: usize) -> bool {
    let pts = index.times.pts();
    stretches.iter().all(|stretch| {
        let times = &decoding_times[stretch.packets.clone()];
        let shown = &pts[stretch.frames.clone()];
        (0..shown.len()).all(|k| times[k] <= shown[k.saturating_sub(depth)])
    })
}

/// Whether all frames are shown at whole ticks of a clock after the first.
fn on_clock(index: &FrameIndex, (num, den): (u32, u32)) -> bool {
    let unit = index.times.time_base() / Rat::new(i128::from(num), i128::from(den));
    let pts = index.times.pts();
    pts.iter().all(|time| (Rat::from(i128::from(time - pts[0])) * unit).is_integer())
}

impl SmartLayout {
    /// The stretches, in frames, in order: together all frames.
    pub fn stretches(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.stretches.iter().map(|stretch| stretch.frames.clone()).filter(|frames| !frames.is_empty())
    }

    /// What must be rendered so that the frames `drawn` (sorted) change: whole stretches, neighbours taken together up
    /// to `most` frames a part.
    pub fn parts(&self, drawn: &[Range<usize>], most: usize) -> Vec<Range<usize>> {
        let touched = |frames: &Range<usize>| {
            drawn.iter().any(|drawn| drawn.start < frames.end && frames.start < drawn.end && !drawn.is_empty())
        };
        let mut parts: Vec<Range<usize>> = Vec::new();
        for frames in self.stretches().filter(touched) {
            match parts.last_mut() {
                Some(part) if part.end == frames.start && frames.end - part.start <= most => part.end = frames.end,
                _ => parts.push(frames),
            }
        }
        parts
    }

    /// How the parts must be encoded.
    ///
    /// # Errors
    /// A sentence that says why the whole video must be rendered: x264 would need more reference frames, or there is
    /// no number left for another parameter set.
    pub fn settings(&self, crf: u8, preset: &str) -> Result<TimedSettings, String> {
        self.manner.settings(&self.record, &self.shape, crf, preset)
    }
}
