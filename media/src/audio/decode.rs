//! A source's sound as stereo at the output's sample rate, by position.

use std::path::{Path, PathBuf};

use edits::Rat;
use ffmpeg_next as av;
use ffmpeg_next::{ChannelLayout, codec, format, frame, software::resampling};

use crate::error::{MediaError, Result};
use crate::input;

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

/// Reads the sound of one file.
pub(crate) struct AudioReader {
    path: PathBuf,
    source: format::context::Input,
    stream: usize,
    /// The stream whose time seeking goes by.
    guide: usize,
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
        self.start + (self.samples.len() / CHANNELS) as i64
    }
}

impl AudioReader {
    /// Opens a file's sound; `None` when it has none.
    pub fn open(path: &Path, rate: u32) -> Result<Option<Self>> {
        let source = input::open(path)?;
        let Some(stream) = input::audio_stream(&source) else {
            return Ok(None);
        };
        let guide = input::video_stream(&source).unwrap_or(stream);
        let decoder = open_decoder(&source, stream)?;
        Ok(Some(Self {
            path: path.to_owned(),
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
            block: Block::default(),
            ended: false,
        }))
    }

    /// Goes to a position (output samples of the file's clock) so that [`Self::read`] can go on from there.
    pub fn seek(&mut self, position: i64) -> Result<()> {
        for lead_in in LEAD_INS {
            let from = position - (lead_in * i128::from(self.rate)) as i64;
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
        let found = input::seek(&mut self.source, self.guide, (seconds / f64::from(time_base)).floor() as i64).is_ok();
        self.decoder.flush();
        self.restart();
        found
    }

    fn rewind(&mut self) -> Result<()> {
        self.source = input::open(&self.path)?;
        self.decoder = open_decoder(&self.source, self.stream)?;
        self.restart();
        Ok(())
    }

    fn restart(&mut self) {
        self.resampler = None;
        self.draining = false;
        self.next = None;
        self.unconfirmed = None;
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
                    return self.flush();
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
        if input::read(&mut self.source, self.stream, &mut self.packet, &mut damaged) {
            // A packet the decoder refuses is damage; see `fill`.
            let _ = self.decoder.send_packet(&self.packet);
        } else {
            self.draining = true;
            let _ = self.decoder.send_eof();
        }
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
        let held = self.resampler.as_ref().and_then(|r| r.delay()).map_or(0, |delay| delay.output.max(0));
        let jumped = match (self.next, due) {
            (Some(next), Some(due)) => self.is_real_jump(due - (next + held)),
            (None, _) => true,
            (Some(_), None) => false,
        };
        if jumped {
            self.resampler = None;
            self.next = Some(due.or(self.next).unwrap_or(0));
        }
        let definition = (self.scratch.format(), self.scratch.channel_layout(), self.scratch.rate());
        if self.resampler.as_ref().is_none_or(|r| {
            let input = r.input();
            (input.format, input.channel_layout, input.rate) != definition
        }) {
            self.resampler = Some(self.open_resampler(definition)?);
        }
        // Room for all: what does not fit stays inside and would come late.
        let samples = self.scratch.samples() as u64 * u64::from(self.rate) / u64::from(self.scratch.rate());
        let held = if jumped { 0 } else { held.unsigned_abs() };
        let mut out = packed_frame((samples + held) as usize + 64);
        let resampler = self.resampler.as_mut().expect("the resampler was opened above");
        resampler.run(&self.scratch, &mut out).map_err(|error| self.failed(error))?;
        Ok(self.take(&out))
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
        let pts = self.scratch.pts().or_else(|| self.scratch.timestamp())?;
        let time_base = self.source.stream(self.stream).expect("the stream comes from this file").time_base();
        let seconds =
            Rat::new(i128::from(pts) * i128::from(time_base.numerator()), i128::from(time_base.denominator()));
        i64::try_from((seconds * Rat::from(i128::from(self.rate))).round().to_integer()).ok()
    }

    /// Takes what the resampler still holds at the end of the stream.
    fn flush(&mut self) -> Result<bool> {
        let Some(resampler) = self.resampler.as_mut().filter(|r| r.delay().is_some()) else {
            return Ok(false);
        };
        let held = resampler.delay().map_or(0, |delay| delay.output.max(0)) as usize + 64;
        let mut out = packed_frame(held);
        if resampler.flush(&mut out).is_err() {
            return Ok(false);
        }
        Ok(self.take(&out))
    }

    fn take(&mut self, out: &frame::Audio) -> bool {
        let count = out.samples();
        if count == 0 {
            return false;
        }
        let start = self.next.unwrap_or(0);
        let bytes = &out.data(0)[..count * CHANNELS * size_of::<f32>()];
        self.block.start = start;
        self.block.samples.clear();
        let floats = bytes.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        self.block.samples.extend(floats);
        self.next = Some(self.block.end());
        true
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
