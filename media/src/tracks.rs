//! Sound that is laid beside pictures packet by packet.

use std::path::Path;

use edits::Rat;
use ffmpeg_next as av;
use ffmpeg_next::{codec, format, media};

use crate::error::{MediaError, Result};
use crate::input;
use crate::output;
use crate::stream::{self, Parameters};
use crate::tags;

/// Sound streams of one file on their way into another.
pub(crate) struct Tracks {
    source: format::context::Input,
    /// By stream of the source.
    tracks: Vec<Option<Track>>,
    packet: av::Packet,
    waiting: bool,
}

/// One of them.
pub(crate) struct Track {
    /// Stream of the output.
    to: usize,
    from_base: av::Rational,
    /// Ticks of the source that become time 0.
    start: i64,
    /// Whether a packet has come that no edit list hides.
    begun: bool,
}

impl Tracks {
    /// The main sound of a file, at the times it has.
    pub fn main(path: &Path, output: &mut format::context::Output) -> Result<Self> {
        let source = input::open(path)?;
        let stream = input::audio_stream(&source)
            .ok_or_else(|| MediaError::codec("joining sound", format!("{} has none", path.display())))?;
        Self::new(source, &[stream], Rat::from(0), output)
    }

    /// Every sound stream of a file; `start` seconds of it become time 0.
    pub fn all(path: &Path, start: Rat, output: &mut format::context::Output) -> Result<Self> {
        let source = input::open(path)?;
        let streams = sound_streams(&source);
        Self::new(source, &streams, start, output)
    }

    fn new(
        source: format::context::Input,
        streams: &[usize],
        start: Rat,
        output: &mut format::context::Output,
    ) -> Result<Self> {
        let mut tracks: Vec<_> = source.streams().map(|_| None).collect();
        for &index in streams {
            tracks[index] = Some(Track::add(&source, index, start, output)?);
        }
        Ok(Self { source, tracks, packet: av::Packet::empty(), waiting: false })
    }

    /// Copies what is decoded up to `seconds` of the output, so that sound and pictures lie near each other.
    pub fn copy_until(&mut self, seconds: f64, output: &mut format::context::Output, name: &Path) -> Result<()> {
        let mut errors = 0;
        loop {
            if !self.waiting {
                stream::unref(&mut self.packet);
                match self.packet.read(&mut self.source) {
                    Ok(()) => self.waiting = true,
                    Err(av::Error::Eof) => return Ok(()),
                    Err(error) => {
                        errors += 1;
                        if errors > 64 {
                            return Err(MediaError::codec("copying sound", error));
                        }
                        continue;
                    }
                }
            }
            let Some(track) = self.tracks.get_mut(self.packet.stream()).and_then(Option::as_mut) else {
                self.waiting = false;
                continue;
            };
            if track.seconds(&self.packet) > seconds {
                return Ok(());
            }
            track.write(&mut self.packet, output, name)?;
            self.waiting = false;
        }
    }
}

impl Track {
    /// Adds a stream to the output; `start` seconds of the source become time 0.
    pub fn add(
        source: &format::context::Input,
        index: usize,
        start: Rat,
        output: &mut format::context::Output,
    ) -> Result<Self> {
        let stream = source.stream(index).expect("the stream comes from this file");
        let to = output::add_copy(output, &stream)?;
        tags::copy_stream_tags(&stream, output, to);
        let from_base = stream.time_base();
        let unit = Rat::new(i128::from(from_base.numerator()), i128::from(from_base.denominator()));
        Ok(Self { to, from_base, start: (start / unit).round().to_integer() as i64, begun: false })
    }

    /// When a packet is decoded, in seconds of the output.
    pub fn seconds(&self, packet: &av::Packet) -> f64 {
        let ticks = packet.dts().or(packet.pts()).map_or(i64::MIN, |dts| dts.saturating_sub(self.start));
        ticks as f64 * f64::from(self.from_base)
    }

    /// Writes a packet that was read from the stream.
    pub fn write(&mut self, packet: &mut av::Packet, output: &mut format::context::Output, name: &Path) -> Result<()> {
        // An edit list hides sound at its start, which the decoder needs, and at its end, which is not needed.
        let hidden = input::is_discarded(packet);
        if hidden && self.begun {
            return Ok(());
        }
        self.begun |= !hidden;
        let to = output.stream(self.to).expect("the stream was added").time_base();
        packet.set_pts(packet.pts().map(|pts| pts - self.start));
        packet.set_dts(packet.dts().map(|dts| dts - self.start));
        packet.rescale_ts(self.from_base, to);
        packet.set_stream(self.to);
        packet.set_position(-1);
        packet.write_interleaved(output).map_err(|error| output::write_failed("writing", name, error))
    }
}

/// The streams of a file that hold sound.
pub(crate) fn sound_streams(source: &format::context::Input) -> Vec<usize> {
    let is_sound = |stream: &format::stream::Stream| {
        stream.parameters().medium() == media::Type::Audio && Parameters::of(stream).sample_rate > 0
    };
    source.streams().filter(is_sound).map(|stream| stream.index()).collect()
}

/// Sound that players support in MP4. The muxer takes more, such as Vorbis, or accepts it and then fails, such as PCM.
const IN_MP4: [codec::Id; 7] =
    [codec::Id::AAC, codec::Id::MP3, codec::Id::MP2, codec::Id::AC3, codec::Id::EAC3, codec::Id::ALAC, codec::Id::OPUS];
/// Least sample rate at which MP4 takes MP3, in Hz.
const SLOWEST_MP3: u32 = 16_000;

/// Why the sound of a file cannot be put into MP4 packet by packet; `None` where it can.
///
/// # Errors
/// When the file cannot be opened.
pub fn sound_not_for_mp4(path: &Path) -> Result<Option<String>> {
    Ok(not_for_mp4(&input::open(path)?))
}

pub(crate) fn not_for_mp4(source: &format::context::Input) -> Option<String> {
    let streams = sound_streams(source).into_iter().filter_map(|index| source.stream(index));
    let fits = |stream: &format::stream::Stream| {
        let id = stream.parameters().id();
        IN_MP4.contains(&id) && (id != codec::Id::MP3 || Parameters::of(stream).sample_rate >= SLOWEST_MP3)
    };
    let codec = streams.filter(|stream| !fits(stream)).map(|stream| stream.parameters().id()).next()?;
    Some(format!("MP4 cannot hold the sound's codec, {}", codec.name()))
}
