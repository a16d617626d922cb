//! A source's sound as stereo at the output's sample rate, by position.

use std::path::PathBuf;

use edits::Rat;
use ffmpeg_next as av;
use ffmpeg_next::{ChannelLayout, codec, format, frame, software::resampling};

use super::source::AudioSource;
use crate::error::{MediaError, Result};
use crate::input;
use crate::joins::WHOLE;
use crate::probe::AudioInfo;
use crate::source::Source;

/// Interleaved stereo.
pub(super) const CHANNELS: usize = 2;

/// Seconds before a wanted position at which decoding starts, tried in order: the decoder needs them to converge, and
/// some containers store sound late. After these, decoding starts at the start of the file.
const LEAD_INS: [i128; 2] = [1, 8];

/// A jump of a source's time stamps beyond this many seconds may be real; smaller ones are rounding (Matroska counts
/// milliseconds).
const LEAST_JUMP: f64 = 0.002;

/// A jump up to this many seconds is real only when two frames in a row confirm it: Ogg's page positions put single
/// frames some milliseconds off.
const UNCONFIRMED_JUMP: f64 = 0.05;

/// The sample rate at which a sound is decoded that is only described.
const DESCRIBED_AT: u32 = 48_000;

/// Reads the sound of one file.
pub(crate) struct AudioReader {
    path: PathBuf,
    source: Source,
    stream: usize,
    /// The stream whose time seeking goes by.
    guide: usize,
    /// Whether the container has a time for some packets alone.
    guesses_times: bool,
    decoder: codec::decoder::Audio,
    resampler: Option<resampling::Context>,
    rate: u32,
    packet: av::Packet,
    scratch: frame::Audio,
    draining: bool,
    /// Position, in output samples of the file's own clock, at which the next converted sample belongs.
    next: Option<i64>,
    /// By how much the frame before was off its place, where that is not confirmed.
    unconfirmed: Option<i64>,
    /// Where the piece of the file that the newest packet belongs to begins and ends, in output samples: sound beyond it
    /// belongs to no picture, and the neighbour's is there.
    piece: (i64, i64),
    /// Whether the frame in hand is the first of a piece.
    begins: bool,
    block: Block,
    ended: bool,
}

/// Converted samples and where they belong.
#[derive(Default)]
struct Block {
    start: i64,
    samples: Vec<f32>,
}

impl Block {
    fn end(&self) -> i64 {
        self.start.saturating_add((self.samples.len() / CHANNELS) as i64)
    }

    /// Leaves out what lies outside of some positions.
    fn keep(&mut self, (from, to): (i64, i64)) {
        let end = to.clamp(self.start, self.end());
        self.samples.truncate((end - self.start) as usize * CHANNELS);
        let start = from.clamp(self.start, end);
        self.samples.drain(..(start - self.start) as usize * CHANNELS);
        self.start = start;
    }
}

impl AudioReader {
    /// Opens a sound; `None` when there is none.
    pub fn open(sound: &AudioSource, rate: u32) -> Result<Option<Self>> {
        let Some(path) = &sound.path else { return Ok(None) };
        let mut source = Source::open(path, sound.joins.clone())?;
        let stream = match sound.late {
            Some(late) => source.read_until_there_is(late)?,
            None => input::audio_stream(&source),
        };
        let Some(stream) = stream else { return Ok(None) };
        let guide = input::video_stream(&source).unwrap_or(stream);
        let decoder = open_decoder(&source, stream)?;
        Ok(Some(Self {
            path: path.clone(),
            guesses_times: ["mpegts", "mpeg"].contains(&source.format().name()),
            source,
            stream,
            guide,
            decoder,
            resampler: None,
            rate,
            packet: av::Packet::empty(),
            scratch: frame::Audio::empty(),
            draining: false,
            next: None,
            unconfirmed: None,
            piece: WHOLE,
            begins: false,
            block: Block::default(),
            ended: false,
        }))
    }

    /// Goes to a position (output samples of the file's clock) so that [`Self::read`] can go on from there.
    pub fn seek(&mut self, position: i64) -> Result<()> {
        for lead_in in LEAD_INS {
            let from = position.saturating_sub((lead_in * i128::from(self.rate)) as i64);
            if self.seek_guide(from) && self.fill()? && self.block.start <= position {
                return Ok(());
            }
        }
        self.rewind()?;
        self.fill()?;
        Ok(())
    }

    /// Fills `out` (interleaved stereo) with the sound from `position` on; silence where the source has none. Calls
    /// after the first must not go backwards.
    pub fn read(&mut self, position: i64, out: &mut [f32]) -> Result<()> {
        let end = position + (out.len() / CHANNELS) as i64;
        let mut at = position;
        while at < end {
            if self.block.end() <= at {
                if !self.fill()? {
                    break;
                }
                continue;
            }
            let silent_until = self.block.start.clamp(at, end);
            out[span(at - position, silent_until - position)].fill(0.0);
            at = silent_until;
            let until = self.block.end().min(end);
            if at < until {
                let from = span(at - self.block.start, until - self.block.start);
                out[span(at - position, until - position)].copy_from_slice(&self.block.samples[from]);
                at = until;
            }
        }
        out[span(at - position, end - position)].fill(0.0);
        Ok(())
    }

    fn seek_guide(&mut self, position: i64) -> bool {
        let time_base = self.source.stream(self.guide).expect("the guide comes from this file").time_base();
        let seconds = position as f64 / f64::from(self.rate);
        let found = self.source.seek(self.guide, (seconds / f64::from(time_base)).floor() as i64).is_ok();
        self.decoder.flush();
        self.restart();
        found
    }

    fn rewind(&mut self) -> Result<()> {
        self.source.rewind()?;
        self.decoder = open_decoder(&self.source, self.stream)?;
        self.restart();
        Ok(())
    }

    fn restart(&mut self) {
        self.resampler = None;
        self.draining = false;
        self.next = None;
        self.unconfirmed = None;
        self.piece = WHOLE;
        self.begins = false;
        self.block = Block::default();
        self.ended = false;
    }

    /// Converts the next piece of sound; false at the end.
    fn fill(&mut self) -> Result<bool> {
        while !self.ended {
            match self.decoder.receive_frame(&mut self.scratch) {
                Ok(()) => {
                    if self.convert()? {
                        return Ok(true);
                    }
                }
                Err(av::Error::Other { errno }) if errno == av::error::EAGAIN => self.feed(),
                Err(av::Error::Eof) => {
                    self.ended = true;
                    return Ok(self.flush());
                }
                // Damaged sound is left out; what follows is placed by its own time stamps.
                Err(_) if self.draining => self.ended = true,
                Err(_) => self.feed(),
            }
        }
        Ok(false)
    }

    fn feed(&mut self) {
        let mut damaged = 0;
        if self.source.read(self.stream, &mut self.packet, &mut damaged) {
            if self.guesses_times && self.packet.position() < 0 {
                // libav counts on from the packet before, at the rate of the header: sound of another rate would slip.
                self.packet.set_pts(None);
                self.packet.set_dts(None);
            }
            let piece = self.piece_of_packet();
            self.begins |= piece != std::mem::replace(&mut self.piece, piece);
            // A packet the decoder refuses is damage; see `fill`.
            let _ = self.decoder.send_packet(&self.packet);
        } else {
            self.draining = true;
            let _ = self.decoder.send_eof();
        }
    }

    /// Between which positions the newest packet's sound may be heard.
    fn piece_of_packet(&self) -> (i64, i64) {
        let (begins, ends) = self.source.span(self.stream);
        let place =
            |ticks, whole| if ticks == whole { whole } else { self.position_of(self.guide, ticks).unwrap_or(whole) };
        (place(begins, WHOLE.0), place(ends, WHOLE.1))
    }

    /// Converts the frame in hand; false when the resampler keeps it all for now.
    fn convert(&mut self) -> Result<bool> {
        if self.scratch.samples() == 0 || self.scratch.rate() == 0 {
            return Ok(false);
        }
        if self.scratch.channel_layout().is_empty() {
            let channels = i32::from(self.scratch.channels());
            self.scratch.set_channel_layout(ChannelLayout::default(channels));
        }
        let due = self.position_of_frame();
        if due.is_none() && self.next.is_none() && self.guesses_times {
            // The first place after a seek has to be known.
            return Ok(false);
        }
        let held = self.resampler.as_ref().and_then(|r| r.delay()).map_or(0, |delay| delay.output.max(0));
        let begins = std::mem::take(&mut self.begins);
        let jumped = match (self.next, due) {
            (Some(next), Some(due)) => self.is_real_jump(due.saturating_sub(next.saturating_add(held))) || begins,
            (None, _) => true,
            (Some(_), None) => false,
        };
        if jumped {
            self.resampler = None;
            self.next = Some(due.or(self.next).unwrap_or(0));
        }
        self.block.samples.clear();
        let definition = (self.scratch.format(), self.scratch.channel_layout(), self.scratch.rate());
        if self.resampler.as_ref().is_none_or(|r| {
            let input = r.input();
            (input.format, input.channel_layout, input.rate) != definition
        }) {
            self.drain_resampler();
            self.resampler = Some(self.open_resampler(definition)?);
        }
        // Room for all: what does not fit stays inside and would come late.
        let samples = self.scratch.samples() as u64 * u64::from(self.rate) / u64::from(self.scratch.rate());
        let held = if jumped { 0 } else { held.unsigned_abs() };
        let mut out = packed_frame((samples + held) as usize + 64);
        let resampler = self.resampler.as_mut().expect("the resampler was opened above");
        resampler.run(&self.scratch, &mut out).map_err(|error| self.failed(error))?;
        self.append(&out);
        Ok(self.place())
    }

    /// Whether a frame that is this many samples off its place really belongs there.
    fn is_real_jump(&mut self, off: i64) -> bool {
        let samples = |seconds: f64| (seconds * f64::from(self.rate)) as u64;
        if off.unsigned_abs() <= samples(LEAST_JUMP) {
            self.unconfirmed = None;
            return false;
        }
        let confirmed = self.unconfirmed.is_some_and(|before| before.abs_diff(off) <= samples(LEAST_JUMP));
        let real = confirmed || off.unsigned_abs() > samples(UNCONFIRMED_JUMP);
        self.unconfirmed = (!real).then_some(off);
        real
    }

    /// Where the frame in hand belongs, by its time stamp.
    fn position_of_frame(&self) -> Option<i64> {
        self.position_of(self.stream, self.scratch.pts().or_else(|| self.scratch.timestamp())?)
    }

    /// The output sample at a time of a stream.
    fn position_of(&self, stream: usize, ticks: i64) -> Option<i64> {
        let time_base = self.source.stream(stream).expect("the stream comes from this file").time_base();
        let seconds =
            Rat::new(i128::from(ticks) * i128::from(time_base.numerator()), i128::from(time_base.denominator()));
        i64::try_from((seconds * Rat::from(i128::from(self.rate))).round().to_integer()).ok()
    }

    /// Takes what the resampler still holds at the end of the stream.
    fn flush(&mut self) -> bool {
        self.block.samples.clear();
        self.drain_resampler();
        self.place()
    }

    /// Appends what the resampler still holds to the block.
    fn drain_resampler(&mut self) {
        let Some(mut resampler) = self.resampler.take() else { return };
        let Some(delay) = resampler.delay() else { return };
        let mut out = packed_frame(delay.output.max(0) as usize + 64);
        if resampler.flush(&mut out).is_ok() {
            self.append(&out);
        }
    }

    fn append(&mut self, out: &frame::Audio) {
        let bytes = &out.data(0)[..out.samples() * CHANNELS * size_of::<f32>()];
        let floats = bytes.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        self.block.samples.extend(floats);
    }

    /// Puts the block where it belongs; false when nothing of it is to be heard.
    fn place(&mut self) -> bool {
        self.block.start = self.next.unwrap_or(0);
        self.next = Some(self.block.end());
        self.block.keep(self.piece);
        !self.block.samples.is_empty()
    }

    fn open_resampler(&self, from: (format::Sample, ChannelLayout, u32)) -> Result<resampling::Context> {
        resampling::Context::get(
            from.0,
            from.1,
            from.2,
            format::Sample::F32(format::sample::Type::Packed),
            ChannelLayout::STEREO,
            self.rate,
        )
        .map_err(|error| self.failed(error))
    }

    fn failed(&self, error: av::Error) -> MediaError {
        MediaError::codec(format!("converting the sound of {}", self.path.display()), error)
    }
}

/// What a sound is by its first decoded frame; `None` where there is none.
pub(crate) fn describe(sound: &AudioSource) -> Result<Option<AudioInfo>> {
    let Some(mut reader) = AudioReader::open(sound, DESCRIBED_AT)? else { return Ok(None) };
    if !reader.fill()? {
        return Ok(None);
    }
    let stream = reader.source.stream(reader.stream).expect("the stream comes from this file");
    Ok(Some(AudioInfo {
        codec: stream.parameters().id().name().to_owned(),
        sample_rate: reader.scratch.rate(),
        channels: u32::from(reader.scratch.channels()),
    }))
}

fn open_decoder(source: &format::context::Input, stream: usize) -> Result<codec::decoder::Audio> {
    let stream = source.stream(stream).expect("the stream comes from this file");
    input::decoder(&stream, 1)?.audio().map_err(|error| MediaError::codec("opening the sound decoder", error))
}

fn packed_frame(samples: usize) -> frame::Audio {
    frame::Audio::new(format::Sample::F32(format::sample::Type::Packed), samples, ChannelLayout::STEREO)
}

fn span(from: i64, to: i64) -> std::ops::Range<usize> {
    from as usize * CHANNELS..to as usize * CHANNELS
}
