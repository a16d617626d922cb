//! The sound of a reel, from its sources to one AAC track.

use std::path::{Path, PathBuf};

use edits::{AudioPart, AudioPiece, Rat};

use super::decode::{AudioReader, CHANNELS};
use super::encode::AudioEncoder;
use crate::error::{MediaError, Result};

/// Samples handled at a time.
const CHUNK: usize = 4096;

/// Where a source's sound is, and when its pictures start.
#[derive(Debug, Clone)]
pub struct AudioSource {
    /// The file; `None` for a source without sound.
    pub path: Option<PathBuf>,
    /// Seconds on the file's own clock at which its first frame is displayed ([`crate::FrameIndex::start`]): time 0 of
    /// every edit.
    pub start: Rat,
}

/// What [`render_audio`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioStats {
    /// Samples a channel.
    pub samples: u64,
    pub bytes: u64,
}

/// Renders the sound of a reel: stereo AAC-LC at 128 kb/s in an MP4 file at `out`.
///
/// Each piece fills exactly its samples of the output; what no piece covers, and what a source has no sound for, is
/// silence. Memory does not grow with length. `cancelled` is asked every few milliseconds of sound.
///
/// # Errors
/// [`MediaError::Cancelled`]; [`MediaError::Codec`] for speeds other than 1, which are not stretched yet, and when
/// decoding or encoding fails; [`MediaError::Io`]. No file remains then.
pub fn render_audio(
    sources: &[AudioSource],
    pieces: &[AudioPiece],
    sample_rate: u32,
    out: &Path,
    cancelled: &dyn Fn() -> bool,
) -> Result<AudioStats> {
    let mut track = Track {
        encoder: AudioEncoder::create(out, sample_rate)?,
        reader: None,
        rate: sample_rate,
        written: 0,
        chunk: vec![0.0; CHUNK * CHANNELS],
        cancelled,
    };
    for piece in pieces {
        track.silence_until(piece.samples.start)?;
        let source = sources.get(piece.source).ok_or_else(|| {
            MediaError::codec("rendering sound", format!("piece of source {} of {}", piece.source, sources.len()))
        })?;
        track.piece(source, piece)?;
        track.silence_until(piece.samples.end)?;
    }
    let (samples, bytes) = track.encoder.finish()?;
    Ok(AudioStats { samples, bytes })
}

/// The output so far, and the source in use.
struct Track<'a> {
    encoder: AudioEncoder,
    reader: Option<AudioReader>,
    rate: u32,
    written: u64,
    chunk: Vec<f32>,
    cancelled: &'a dyn Fn() -> bool,
}

impl Track<'_> {
    /// Writes one piece: its parts one after the other, the last one up to the piece's end.
    fn piece(&mut self, source: &AudioSource, piece: &AudioPiece) -> Result<()> {
        let Some(path) = &source.path else {
            return Ok(());
        };
        let mut length = Rat::from(0);
        for (number, part) in piece.parts.iter().enumerate() {
            if part.speed != Rat::from(1) {
                return Err(MediaError::codec("rendering sound", format!("speed {} is not supported", part.speed)));
            }
            length += part.source_end - part.source_start;
            let end = if number + 1 == piece.parts.len() {
                piece.samples.end
            } else {
                (piece.samples.start + self.samples(length) as u64).min(piece.samples.end)
            };
            if self.written < end && !self.part(path, source.start, part, end)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Writes one part up to output sample `end`; false when the file has no sound.
    fn part(&mut self, path: &Path, start: Rat, part: &AudioPart, end: u64) -> Result<bool> {
        if self.reader.as_ref().is_none_or(|reader| reader.path() != path) {
            self.reader = AudioReader::open(path, self.rate)?;
        }
        let Some(mut reader) = self.reader.take() else {
            return Ok(false);
        };
        let mut position = self.samples(start + part.source_start);
        reader.seek(position)?;
        while self.written < end {
            let count = (end - self.written).min(CHUNK as u64) as usize;
            let mut chunk = std::mem::take(&mut self.chunk);
            reader.read(position, &mut chunk[..count * CHANNELS])?;
            self.write(&chunk[..count * CHANNELS])?;
            self.chunk = chunk;
            position += count as i64;
        }
        self.reader = Some(reader);
        Ok(true)
    }

    fn silence_until(&mut self, end: u64) -> Result<()> {
        let silence = [0.0; CHUNK * CHANNELS];
        while self.written < end {
            let count = (end - self.written).min(CHUNK as u64) as usize;
            self.write(&silence[..count * CHANNELS])?;
        }
        Ok(())
    }

    fn write(&mut self, samples: &[f32]) -> Result<()> {
        if (self.cancelled)() {
            return Err(MediaError::Cancelled);
        }
        self.encoder.push(samples)?;
        self.written += (samples.len() / CHANNELS) as u64;
        Ok(())
    }

    fn samples(&self, seconds: Rat) -> i64 {
        (seconds * Rat::from(i128::from(self.rate))).round().to_integer() as i64
    }
}
