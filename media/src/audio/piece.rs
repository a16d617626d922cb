//! The sound of one clip, read from its source in order.

use edits::{AudioPart, AudioPiece, Rat};

use super::decode::{AudioReader, CHANNELS};
use super::source::AudioSource;
use super::tempo::Tempo;
use crate::error::Result;

/// Samples over which one speed goes over into the next: 5 ms at 48 kHz. A stretched part ends within a wave that the
/// next one does not continue; without this the seam would click.
const SEAM: u64 = 240;

/// Plays a piece from its first sample to its last.
pub(super) struct PieceReader {
    piece: AudioPiece,
    source: AudioSource,
    rate: u32,
    /// The next sample of the output to be read.
    at: u64,
    /// Number of the part that follows the one now playing.
    next_part: usize,
    now: Option<Voice>,
    /// The part before, while it fades out: how many of [`SEAM`] samples it has faded.
    before: Option<(Voice, u64)>,
    scratch: Vec<f32>,
}

impl PieceReader {
    pub fn new(source: &AudioSource, piece: &AudioPiece, rate: u32) -> Self {
        Self {
            source: source.clone(),
            rate,
            at: piece.samples.start,
            next_part: 0,
            now: None,
            before: None,
            scratch: Vec::new(),
            piece: piece.clone(),
        }
    }

    /// The output sample after the piece's last.
    pub fn end(&self) -> u64 {
        self.piece.samples.end
    }

    /// Adds the piece's sound to `mix`, interleaved stereo whose first sample is the output's sample `from`.
    pub fn mix_into(&mut self, mix: &mut [f32], from: u64) -> Result<()> {
        let end = (from + (mix.len() / CHANNELS) as u64).min(self.piece.samples.end);
        while self.at < end {
            self.enter_part()?;
            let until = end.min(self.part_end(self.next_part - 1));
            let span = (self.at - from) as usize * CHANNELS..(until - from) as usize * CHANNELS;
            let mut sound = std::mem::take(&mut self.scratch);
            sound.clear();
            sound.resize(span.len(), 0.0);
            self.play(&mut sound)?;
            for (n, (to, sample)) in
                (self.at..).zip(mix[span].chunks_exact_mut(CHANNELS).zip(sound.chunks_exact(CHANNELS)))
            {
                let level = self.level(n);
                to[0] += level * sample[0];
                to[1] += level * sample[1];
            }
            self.scratch = sound;
            self.at = until;
        }
        Ok(())
    }

    /// Opens the parts that begin at or before the next sample.
    fn enter_part(&mut self) -> Result<()> {
        while self.next_part == 0
            || (self.next_part < self.piece.parts.len() && self.at >= self.part_end(self.next_part - 1))
        {
            let part = self.piece.parts.get(self.next_part).copied();
            self.next_part += 1;
            let voice = part.map(|part| Voice::open(&self.source, &part, self.rate)).transpose()?.flatten();
            self.before = std::mem::replace(&mut self.now, voice).map(|voice| (voice, 0));
        }
        Ok(())
    }

    /// The output sample after the last one of part `number`.
    fn part_end(&self, number: usize) -> u64 {
        if number + 1 >= self.piece.parts.len() {
            return self.piece.samples.end;
        }
        let length = |part: &AudioPart| (part.source_end - part.source_start) / part.speed;
        let before: Rat = self.piece.parts[..=number].iter().map(length).sum();
        (self.piece.samples.start + samples(before, self.rate) as u64).min(self.piece.samples.end)
    }

    /// The piece's sound before its own fades.
    fn play(&mut self, out: &mut [f32]) -> Result<()> {
        let Some(now) = &mut self.now else { return Ok(()) };
        now.read(out)?;
        let Some((before, faded)) = &mut self.before else { return Ok(()) };
        let count = (SEAM - *faded).min((out.len() / CHANNELS) as u64) as usize;
        let mut old = [0.0; SEAM as usize * CHANNELS];
        let old = &mut old[..count * CHANNELS];
        before.read(old)?;
        for (n, (to, from)) in (*faded..).zip(out.chunks_exact_mut(CHANNELS).zip(old.chunks_exact(CHANNELS))) {
            let weight = (n as f32 + 0.5) / SEAM as f32;
            to[0] = weight * to[0] + (1.0 - weight) * from[0];
            to[1] = weight * to[1] + (1.0 - weight) * from[1];
        }
        *faded += count as u64;
        if *faded == SEAM {
            self.before = None;
        }
        Ok(())
    }

    /// How loud output sample `n` of the piece is: linear at its ends, where it fades.
    fn level(&self, n: u64) -> f32 {
        let ramp = |done: u64, of: u64| if done < of { (done as f32 + 0.5) / of as f32 } else { 1.0 };
        let range = &self.piece.samples;
        ramp(n - range.start, self.piece.fade_in) * ramp(range.end - 1 - n, self.piece.fade_out)
    }
}

/// A source's sound from some time on, at one speed.
struct Voice {
    reader: AudioReader,
    /// The next sample to read, in output samples of the file's own clock.
    position: i64,
    tempo: Option<Tempo>,
}

impl Voice {
    /// `None` when there is no sound.
    fn open(source: &AudioSource, part: &AudioPart, rate: u32) -> Result<Option<Self>> {
        let Some(mut reader) = AudioReader::open(source, rate)? else { return Ok(None) };
        let position = samples(source.start + part.source_start, rate);
        reader.seek(position)?;
        let tempo = (part.speed != Rat::from(1)).then(|| Tempo::new(part.speed, rate)).transpose()?;
        Ok(Some(Self { reader, position, tempo }))
    }

    fn read(&mut self, out: &mut [f32]) -> Result<()> {
        let Self { reader, position, tempo } = self;
        let mut source = |out: &mut [f32]| {
            reader.read(*position, out)?;
            *position += (out.len() / CHANNELS) as i64;
            Ok(())
        };
        match tempo {
            Some(tempo) => tempo.read(out, source),
            None => source(out),
        }
    }
}

fn samples(seconds: Rat, rate: u32) -> i64 {
    (seconds * Rat::from(i128::from(rate))).round().to_integer() as i64
}
