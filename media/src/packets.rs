//! The packets of a video stream, read without decoding: the facts of which an index is made.

use std::collections::BTreeSet;
use std::path::Path;

use ffmpeg_next as av;
use ffmpeg_next::{ffi, format, media};

use crate::claims::{Holds, MAX_FRAMES};
use crate::error::{MediaError, Result};
use crate::input::{self, Stop, check_stop};
use crate::joins::{self, Finder, Found, Stamps, Ticks, WHOLE, moved, rescale};
use crate::limits::PacketGuard;
use crate::tail;

/// One packet in this many may lack its presentation time (a damaged one); where more do, the container has none.
const MOST_WITHOUT_PTS: usize = 20;

/// Pictures by which libav's parsers may be ahead of those that they give out.
const PARSED_AHEAD: usize = 3;

/// Seconds for which the last frame of a film without as long a sound may be shown.
const LONGEST_LAST_FRAME: f64 = 10.0;

/// Seconds by which sound may end earlier than it is said to: those of a packet.
const SOUND_PACKET: f64 = 0.1;

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

/// Ticks of a frame at the stream's usual rate, at least one.
fn frame_ticks(source: &mut format::context::Input, stream: usize) -> i64 {
    let rate = input::frame_rate(source, stream);
    let time_base = source.stream(stream).expect("the index comes from this file").time_base();
    ((f64::from(rate.den) / f64::from(rate.num) / f64::from(time_base)).round() as i64).max(1)
}

/// What follows the time stamps of a file's picture and of its sounds.
fn finder(source: &mut format::context::Input, stream: usize) -> Finder {
    let frame = frame_ticks(source, stream);
    let matroska = source.format().name().contains("matroska");
    let ticks = |stream: &format::stream::Stream, frame, is_sound: bool| Ticks {
        base: stream.time_base(),
        wrap_bits: input::wrap_bits(stream),
        frame,
        reordered: matroska && !is_sound,
        is_sound,
    };
    let picture = ticks(&source.stream(stream).expect("the index comes from this file"), frame, false);
    let sounds = source.streams().filter(|stream| stream.parameters().medium() == media::Type::Audio);
    Finder::new((stream, picture), sounds.map(|sound| (sound.index(), ticks(&sound, 1, true))))
}

/// What the index needs of one packet.
pub(crate) struct PacketFacts {
    pub pts: Option<i64>,
    pub dts: Option<i64>,
    pub duration: i64,
    pub key: bool,
    hidden: bool,
    /// Whether the demuxer has found it damaged.
    corrupt: bool,
    position: i64,
}

/// Packets of the stream, in decoding order: all, or a stretch of them.
pub(crate) struct Packets {
    pub facts: Vec<PacketFacts>,
    /// Packets without a picture.
    without: i64,
    pub time_base: av::Rational,
    pub frame_ticks: i64,
    damaged: u64,
    /// Ticks of the picture at which the sound ends; `None` where there is none.
    sound_end: Option<i64>,
    /// The stream of the first packet of sound, where no sound was known before.
    other_sound: Option<usize>,
    /// Ticks at which the pictures end by the container's word, where it has one.
    stated_end: Option<i64>,
}

impl Packets {
    /// All of them, on the joined time line, and what was found about their stamps.
    pub fn read(source: &mut format::context::Input, stream: usize, stop: &Stop) -> Result<(Self, Option<Found>)> {
        let mut finder = joins::are_possible(source.format().name()).then(|| finder(source, stream));
        let few = |facts: &[PacketFacts]| facts.len() <= MAX_FRAMES as usize;
        let mut packets = Self::read_until(source, stream, stop, finder.as_mut(), few);
        check_stop(stop)?;
        if packets.facts.len() > MAX_FRAMES as usize {
            return Err(MediaError::refused("unreadable", format!("the video has more than {MAX_FRAMES} frames")));
        }
        packets.stated_end = packets.stated_end(source, stream);
        let found = finder.and_then(Finder::finish).filter(|_| packets.stamp() == Stamp::Pts);
        if let Some(track) = found.as_ref().and_then(|found| found.joins.tracks.first()) {
            let points: Vec<_> = packets.facts.iter().map(|fact| track.at(fact.position)).collect();
            for (number, fact) in packets.facts.iter_mut().enumerate() {
                // Packet counters do not go on from one recording to the next, which is no damage. libav's parser gives the
                // mark to a picture before the one that it was reading.
                let around = &points[number.saturating_sub(1)..points.len().min(number + 1 + PARSED_AHEAD)];
                fact.corrupt &= around.iter().all(|point| *point == points[number]);
                let offset = points[number].map_or(0, |point| point.offset);
                (fact.dts, fact.pts) = moved((fact.dts, fact.pts), offset, track.wrap_bits);
                // Leading pictures of an open group refer to pictures of another recording.
                let begins = points[number].map_or(WHOLE.0, |point| point.span.0);
                fact.hidden |= fact.pts.is_some_and(|pts| pts < begins);
            }
        }
        Ok((packets, found))
    }

    /// Reads on from where the source is, as long as `more` is true of what was read.
    pub fn read_while(
        source: &mut format::context::Input,
        stream: usize,
        more: impl Fn(&[PacketFacts]) -> bool,
    ) -> Self {
        Self::read_until(source, stream, &input::never, None, more)
    }

    fn read_until(
        source: &mut format::context::Input,
        stream: usize,
        stop: &Stop,
        mut finder: Option<&mut Finder>,
        more: impl Fn(&[PacketFacts]) -> bool,
    ) -> Self {
        let time_base = source.stream(stream).expect("the index comes from this file").time_base();
        let frame_ticks = frame_ticks(source, stream);
        let mut packet = av::Packet::empty();
        let guard = PacketGuard::of(&source.stream(stream).expect("the index comes from this file"));
        let sound = input::audio_stream(source).and_then(|index| Some((index, source.stream(index)?.time_base())));
        let (mut facts, mut damaged, mut position, mut without, mut sound_end, mut other_sound) =
            (Vec::new(), 0, -1, 0, None, None);
        while more(&facts) && input::read_any(source, &mut packet, &mut damaged, stop) {
            if let Some(finder) = &mut finder {
                let stamps = Stamps {
                    dts: packet.dts(),
                    pts: packet.pts(),
                    duration: packet.duration(),
                    key: packet.is_key(),
                    position: packet.position() as i64,
                };
                finder.see(packet.stream(), &stamps);
            }
            if packet.stream() != stream {
                if let Some((_, base)) = sound.filter(|(index, _)| *index == packet.stream()) {
                    sound_end = sound_end
                        .max(packet.pts().map(|pts| rescale(pts.saturating_add(packet.duration()), base, time_base)));
                } else if sound.is_none() && other_sound.is_none() && input::is_sound(source, packet.stream()) {
                    other_sound = Some(packet.stream());
                }
                continue;
            }
            // Where there are no stamps, packets are named by their number, as decoders get them.
            let has_stamp = packet.pts().or(packet.dts()).is_some();
            if has_stamp && guard.holds(&packet) != Holds::Picture {
                without += 1;
                continue;
            }
            // Several packets may come from one place.
            position = if packet.position() >= 0 { packet.position() as i64 } else { position };
            facts.push(PacketFacts {
                pts: packet.pts(),
                dts: packet.dts(),
                duration: packet.duration(),
                key: packet.is_key(),
                hidden: input::is_discarded(&packet),
                corrupt: packet.is_corrupt(),
                position,
            });
        }
        Self { facts, without, time_base, frame_ticks, damaged, sound_end, other_sound, stated_end: None }
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

    pub fn stamp_of(&self, number: usize, stamp: Stamp) -> Option<i64> {
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

    pub fn warnings(&self, path: &Path, source: &format::context::Input, stream: usize) -> Vec<String> {
        let container = source.format().name().to_owned();
        let found = self.facts.len() as i64 + self.without;
        // Only MP4 counts every frame; in AVI a frame may be announced and left out on purpose.
        let announced = if container.contains("mp4") { source.stream(stream).map_or(0, |s| s.frames()) } else { 0 };
        if announced > found {
            return vec![format!("the file is cut short: {found} of {announced} frames are there")];
        }
        if tail::is_missing(path, &container) {
            return vec![format!("the file is cut short: {found} frames are there")];
        }
        match self.damaged + self.facts.iter().filter(|fact| fact.corrupt).count() as u64 {
            0 => Vec::new(),
            places => vec![format!("the file is damaged in {places} places")],
        }
    }

    /// How long the last frame is shown, of which its packet says that it lasts `own` ticks: as long as the container says
    /// where the sound goes on for so long; else as its packet says, if that is no longer than the sound or a few seconds.
    pub fn last_ticks(&self, last: i64, own: i64, stamp: Stamp) -> i64 {
        let heard = self.sound_end.filter(|_| stamp == Stamp::Pts).map_or(0, |end| end.saturating_sub(last));
        let stated = self.stated_end.filter(|_| stamp == Stamp::Pts).map_or(0, |end| end.saturating_sub(last));
        // Sound ends with a whole packet.
        let within_sound = |ticks: i64| ticks <= heard.saturating_add(self.ticks(SOUND_PACKET));
        if stated > own && within_sound(stated) {
            return stated;
        }
        let credible = within_sound(own) || own <= self.ticks(LONGEST_LAST_FRAME);
        if credible { own } else { self.frame_ticks }
    }

    /// Sound that is announced or begins behind the first packets, and can be decoded.
    pub fn late_sound(&self, source: &format::context::Input) -> Option<usize> {
        self.other_sound.filter(|&index| input::has_sound_decoder(source, index))
    }

    /// Where the pictures of an MP4 end by its header; other containers say no more than the last packet. `None` where frames
    /// are missing at the end.
    fn stated_end(&self, source: &format::context::Input, stream: usize) -> Option<i64> {
        let stream = source.stream(stream).filter(|_| source.format().name().contains("mp4"))?;
        let (start, length) = (stream.start_time(), stream.duration());
        let whole = stream.frames() <= self.facts.len() as i64 + self.without;
        (whole && start != ffi::AV_NOPTS_VALUE && length > 0).then(|| start.saturating_add(length))
    }
}
