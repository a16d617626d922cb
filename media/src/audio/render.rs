//! The sound of a reel, from its sources to one AAC track.

use std::path::Path;

use edits::AudioPiece;

use super::decode::CHANNELS;
use super::encode::AudioEncoder;
use super::piece::PieceReader;
use super::source::AudioSource;
use crate::error::{MediaError, Result};

/// Samples handled at a time.
const CHUNK: u64 = 4096;

/// What [`render_audio`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioStats {
    /// Samples a channel.
    pub samples: u64,
    pub bytes: u64,
}

/// Renders the sound of a reel: stereo AAC-LC at 128 kb/s in an MP4 file at `out`.
///
/// Each piece fills exactly its samples of the output, stretched to its speeds with the pitch kept; where pieces
/// overlap they are mixed. What no piece covers, and what a source has no sound for, is silence. Memory does not grow
/// with length. `cancelled` is polled every few milliseconds of sound.
///
/// # Errors
/// [`MediaError::Cancelled`]; [`MediaError::Codec`] when decoding or encoding fails; [`MediaError::Io`]. No file
/// remains then.
pub fn render_audio(
    sources: &[AudioSource],
    pieces: &[AudioPiece],
    sample_rate: u32,
    out: &Path,
    cancelled: &dyn Fn() -> bool,
) -> Result<AudioStats> {
    let mut encoder = AudioEncoder::create(out, sample_rate)?;
    let mut waiting = pieces.iter().peekable();
    let mut playing: Vec<PieceReader> = Vec::new();
    let mut mix = vec![0.0; CHUNK as usize * CHANNELS];
    let end = pieces.iter().map(|piece| piece.samples.end).max().unwrap_or(0);
    let mut at = 0;
    while at < end {
        if cancelled() {
            return Err(MediaError::Cancelled);
        }
        let until = (at + CHUNK).min(end);
        while let Some(piece) = waiting.next_if(|piece| piece.samples.start < until) {
            playing.push(PieceReader::new(source_of(sources, piece)?, piece, sample_rate));
        }
        let chunk = &mut mix[..(until - at) as usize * CHANNELS];
        chunk.fill(0.0);
        playing.iter_mut().try_for_each(|piece| piece.mix_into(chunk, at))?;
        playing.retain(|piece| piece.end() > until);
        encoder.push(chunk)?;
        at = until;
    }
    let (samples, bytes) = encoder.finish()?;
    Ok(AudioStats { samples, bytes })
}

fn source_of<'a>(sources: &'a [AudioSource], piece: &AudioPiece) -> Result<&'a AudioSource> {
    sources.get(piece.source).ok_or_else(|| {
        MediaError::codec("rendering sound", format!("piece of source {} of {}", piece.source, sources.len()))
    })
}
