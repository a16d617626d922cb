//! Sound that is laid beside pictures packet by packet.

use std::path::Path;

use edits::Rat;
use ffmpeg_next as av;
use ffmpeg_next::{codec, format, media};

use crate::error::{MediaError, Result};
use crate::index::FrameIndex;
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
    /// Decoding time of the newest packet that was written, in ticks of the source.
    last: Option<i64>,
}

impl Tracks {
    /// The main sound of a file; `start` seconds of it become time 0.
    pub fn main(path: &Path, start: Rat, output: &mut format::context::Output) -> Result<Self> {
        let source = input::open(path)?;
        let stream = input::audio_stream(&source)
            .ok_or_else(|| MediaError::codec("joining sound", format!("{} has none", path.display())))?;
        Self::new(source, &[stream], start, output)
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
        Ok(Self { to, from_base, start: (start / unit).round().to_integer() as i64, begun: false, last: None })
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
        // Where recordings were joined, sound of the later one may begin before that of the earlier one has ended.
        let dts = packet.dts().or(packet.pts());
        if hidden && self.begun || dts <= self.last {
            return Ok(());
        }
        self.last = dts;
        self.begun |= !hidden;
        let to = output.stream(self.to).expect("the stream was added").time_base();
        packet.set_pts(packet.pts().map(|pts| pts.saturating_sub(self.start)));
        packet.set_dts(packet.dts().map(|dts| dts.saturating_sub(self.start)));
        packet.rescale_ts(self.from_base, to);
        packet.set_stream(self.to);
        packet.set_position(-1);
        packet.write_interleaved(output).map_err(|error| output::write_failed("writing", name, error))
    }
}

/// Sound that players support in MP4. The muxer takes more, such as Vorbis, or accepts it and then fails, such as PCM.
const IN_MP4: [codec::Id; 7] =
    [codec::Id::AAC, codec::Id::MP3, codec::Id::MP2, codec::Id::AC3, codec::Id::EAC3, codec::Id::ALAC, codec::Id::OPUS];
/// Least sample rate at which MP4 takes MP3, in Hz.
const SLOWEST_MP3: u32 = 16_000;

/// Why the sound of a file cannot be put into MP4 packet by packet; `None` where it can. Further tracks do not count:
/// see [`sound_left_out`].
///
/// # Errors
/// When the file cannot be opened.
pub fn sound_not_for_mp4(path: &Path, index: &FrameIndex) -> Result<Option<String>> {
    Ok(not_for_mp4(&input::open(path)?, index)
        .or_else(|| index.joins.as_ref().map(|_| "the time stamps restart".to_owned())))
}

/// The sound tracks that are left out, in words: those that MP4 cannot hold, or, where the main sound is `encoded`, all
/// others.
///
/// # Errors
/// When the file cannot be opened.
pub fn sound_left_out(path: &Path, encoded: bool) -> Result<Vec<String>> {
    let source = input::open(path)?;
    let main = input::audio_stream(&source);
    let left_out = sounds(&source).filter(|stream| match encoded {
        true => Some(stream.index()) != main,
        false => !fits_mp4(stream),
    });
    let why = |stream: format::stream::Stream| match encoded {
        true => "the main sound had to be encoded".to_owned(),
        false => format!("MP4 cannot hold its codec, {}", stream.parameters().id().name()),
    };
    Ok(left_out.map(|stream| format!("a sound track is left out: {}", why(stream))).collect())
}

/// Why the main sound cannot be copied.
pub(crate) fn not_for_mp4(source: &format::context::Input, index: &FrameIndex) -> Option<String> {
    if index.has_late_sound() {
        return Some("the sound begins late and is announced by its own packets".to_owned());
    }
    let main = input::audio_stream(source).and_then(|index| source.stream(index))?;
    (!fits_mp4(&main)).then(|| format!("MP4 cannot hold the sound's codec, {}", main.parameters().id().name()))
}

/// The streams of a file that hold sound which MP4 can hold.
pub(crate) fn sound_streams(source: &format::context::Input) -> Vec<usize> {
    sounds(source).filter(fits_mp4).map(|stream| stream.index()).collect()
}

fn sounds(source: &format::context::Input) -> impl Iterator<Item = format::stream::Stream<'_>> {
    source
        .streams()
        .filter(|stream| stream.parameters().medium() == media::Type::Audio && Parameters::of(stream).sample_rate > 0)
}

fn fits_mp4(stream: &format::stream::Stream) -> bool {
    let id = stream.parameters().id();
    IN_MP4.contains(&id) && (id != codec::Id::MP3 || Parameters::of(stream).sample_rate >= SLOWEST_MP3)
}
