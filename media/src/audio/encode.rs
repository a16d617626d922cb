//! One AAC track in an MP4 file.

use std::path::Path;

use ffmpeg_next as av;
use ffmpeg_next::{ChannelLayout, codec, encoder, format, frame};

use super::decode::CHANNELS;
use crate::error::{MediaError, Result};
use crate::output::{self, Unfinished};

const BIT_RATE: usize = 128_000;

/// Encodes interleaved stereo. The encoder's 1024 samples of priming stay before time 0, hidden by the edit list the
/// muxer writes for them.
pub(super) struct AudioEncoder {
    encoder: encoder::Audio,
    output: format::context::Output,
    file: Unfinished,
    rate: u32,
    /// Samples that do not fill a frame yet.
    waiting: Vec<f32>,
    sent: i64,
    packet: av::Packet,
}

impl AudioEncoder {
    pub fn create(path: &Path, rate: u32) -> Result<Self> {
        crate::init();
        let failed = |error| output::write_failed("starting", path, error);
        let encoder = open(rate).map_err(failed)?;
        let file = Unfinished::new(path);
        let mut output = output::create(path, "mp4")?;
        let mut stream = output.add_stream_with(&encoder).map_err(failed)?;
        stream.set_time_base((1, rate as i32));
        output.write_header().map_err(failed)?;
        Ok(Self { encoder, output, file, rate, waiting: Vec::new(), sent: 0, packet: av::Packet::empty() })
    }

    /// Encodes samples of interleaved stereo.
    pub fn push(&mut self, samples: &[f32]) -> Result<()> {
        self.waiting.extend_from_slice(samples);
        let frame = self.encoder.frame_size() as usize * CHANNELS;
        let whole = self.waiting.len() / frame * frame;
        let ready: Vec<f32> = self.waiting.drain(..whole).collect();
        ready.chunks_exact(frame).try_for_each(|samples| self.send(samples))
    }

    /// Closes the file; returns its samples and bytes.
    pub fn finish(mut self) -> Result<(u64, u64)> {
        let rest = std::mem::take(&mut self.waiting);
        if !rest.is_empty() {
            self.send(&rest)?;
        }
        self.encoder.send_eof().map_err(|error| self.failed(error))?;
        self.drain()?;
        self.output.write_trailer().map_err(|error| self.failed(error))?;
        let Self { output, file, sent, .. } = self;
        drop(output);
        Ok((sent as u64, file.keep()?))
    }

    fn send(&mut self, samples: &[f32]) -> Result<()> {
        let count = samples.len() / CHANNELS;
        let planar = format::Sample::F32(format::sample::Type::Planar);
        let mut frame = frame::Audio::new(planar, count, ChannelLayout::STEREO);
        frame.set_rate(self.rate);
        for channel in 0..CHANNELS {
            let plane = frame.plane_mut::<f32>(channel);
            let own = samples.iter().skip(channel).step_by(CHANNELS);
            plane.iter_mut().zip(own).for_each(|(to, &from)| *to = from);
        }
        frame.set_pts(Some(self.sent));
        self.sent += count as i64;
        self.encoder.send_frame(&frame).map_err(|error| self.failed(error))?;
        self.drain()
    }

    fn drain(&mut self) -> Result<()> {
        let to = self.output.stream(0).expect("the file has one stream").time_base();
        while self.encoder.receive_packet(&mut self.packet).is_ok() {
            self.packet.set_stream(0);
            self.packet.rescale_ts((1, self.rate as i32), to);
            self.packet.write_interleaved(&mut self.output).map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    fn failed(&self, error: av::Error) -> MediaError {
        output::write_failed("encoding", self.file.path(), error)
    }
}

fn open(rate: u32) -> std::result::Result<encoder::Audio, av::Error> {
    let codec = encoder::find_by_name("aac").ok_or(av::Error::EncoderNotFound)?;
    let mut context = codec::Context::new_with_codec(codec);
    context.set_threading(codec::threading::Config { count: 1, ..Default::default() });
    context.set_flags(codec::Flags::GLOBAL_HEADER | codec::Flags::BITEXACT);
    let mut audio = context.encoder().audio()?;
    audio.set_rate(rate as i32);
    audio.set_format(format::Sample::F32(format::sample::Type::Planar));
    audio.set_channel_layout(ChannelLayout::STEREO);
    audio.set_channels(CHANNELS as i32);
    audio.set_bit_rate(BIT_RATE);
    audio.set_time_base((1, rate as i32));
    audio.open_as(codec)
}
