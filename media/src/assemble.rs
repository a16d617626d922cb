//! Joining segments and sound into the published file, by stream copy.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use edits::Rat;
use ffmpeg_next as av;
use ffmpeg_next::format;

use crate::decode::FrameDecoder;
use crate::encode::{VideoSettings, time_base};
use crate::error::{MediaError, Result};
use crate::index::own_index;
use crate::input;
use crate::output::{self, Unfinished};
use crate::tags::{self, Chapter};
use crate::tracks::Tracks;

/// What [`assemble`] made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assembled {
    pub frames: u64,
    /// Length of the pictures.
    pub seconds: f64,
    pub bytes: u64,
}

/// Joins segments of one reel, in order, and its sound into an MP4 file that can be played while it loads.
///
/// Nothing is encoded again. Frames are numbered through, so frame n is at n / fps exactly, and decoding time stamps
/// rise by one frame each. `chapters` may be none; `simulated` is written into the file's comment.
///
/// # Errors
/// [`MediaError::Codec`] when segments have different parameter sets, miss frames, or cannot be decoded across a seam;
/// [`MediaError::Io`]. No file remains then.
pub fn assemble(
    segments: &[PathBuf],
    audio: Option<&Path>,
    settings: &VideoSettings,
    chapters: &[Chapter],
    simulated: bool,
    out: &Path,
) -> Result<Assembled> {
    let first = segments.first().ok_or_else(|| MediaError::codec("joining segments", "there are none"))?;
    let file = Unfinished::new(out);
    let mut joiner = Joiner::create(out, first, audio, settings, (chapters, simulated))?;
    let mut seams = Vec::new();
    for segment in segments {
        seams.push(joiner.frames);
        joiner.segment(segment)?;
    }
    let frames = joiner.finish()?;
    check(out, &seams, frames)?;
    let seconds = frames as f64 * f64::from(settings.rate.den) / f64::from(settings.rate.num);
    Ok(Assembled { frames, seconds, bytes: file.keep()? })
}

/// The file being joined.
struct Joiner {
    output: format::context::Output,
    settings: VideoSettings,
    parameter_sets: Vec<u8>,
    /// Frames by which decoding runs ahead of showing.
    delay: i64,
    frames: u64,
    sound: Option<Tracks>,
    name: PathBuf,
}

impl Joiner {
    fn create(
        out: &Path,
        first: &Path,
        audio: Option<&Path>,
        settings: &VideoSettings,
        (chapters, simulated): (&[Chapter], bool),
    ) -> Result<Self> {
        let mut source = input::open(first)?;
        let video = input::video_stream(&source)?;
        let delay = delay(&mut source, video, settings)?;
        let mut output = output::create(out, "mp4")?;
        let stream = source.stream(video).expect("the index comes from this file");
        let parameter_sets = output::extradata(&stream);
        let to = output::add_copy(&mut output, &stream)?;
        let mut added = output.stream_mut(to).expect("the stream was just added");
        added.set_time_base(time_base(settings.rate));
        added.set_avg_frame_rate(time_base(settings.rate).invert());
        let sound = match audio {
            Some(path) => Some(Tracks::main(path, Rat::from(0), &mut output)?),
            None => None,
        };
        tags::write_tags(None, simulated, &mut output);
        tags::add_chapters(&mut output, chapters)?;
        let mut options = av::Dictionary::new();
        options.set("movflags", "+faststart");
        output.write_header_with(options).map_err(|error| output::write_failed("starting", out, error))?;
        Ok(Self { output, settings: settings.clone(), parameter_sets, delay, frames: 0, sound, name: out.to_owned() })
    }

    /// Copies one segment's packets behind those before it.
    fn segment(&mut self, path: &Path) -> Result<()> {
        let doing = || format!("joining segment {}", path.display());
        let mut source = input::open(path)?;
        let video = input::video_stream(&source)?;
        let stream = source.stream(video).expect("the index comes from this file");
        if output::extradata(&stream) != self.parameter_sets {
            return Err(MediaError::codec(doing(), "its H.264 parameter sets are not those of the first segment"));
        }
        let from = stream.time_base();
        let (mut packet, mut damaged) = (av::Packet::empty(), 0);
        let mut numbers = Vec::new();
        let before = self.frames as i64;
        while input::read(&mut source, video, &mut packet, &mut damaged) {
            let number = packet.pts().and_then(|pts| frame_number(pts, from, &self.settings));
            let number = number.ok_or_else(|| MediaError::codec(doing(), "a packet is not on the frame grid"))?;
            let dts = before + numbers.len() as i64 - self.delay;
            numbers.push(number);
            if dts > before + number {
                return Err(MediaError::codec(doing(), "its pictures are reordered further than the first segment's"));
            }
            self.sound_until(dts)?;
            packet.set_pts(Some(before + number));
            packet.set_dts(Some(dts));
            packet.set_duration(1);
            self.write(&mut packet)?;
        }
        numbers.sort_unstable();
        let whole = numbers.iter().copied().eq(0..numbers.len() as i64);
        if numbers.is_empty() || !whole || damaged > 0 {
            return Err(MediaError::codec(doing(), "frames are missing"));
        }
        self.frames += numbers.len() as u64;
        Ok(())
    }

    fn write(&mut self, packet: &mut av::Packet) -> Result<()> {
        let to = self.output.stream(0).expect("the pictures are stream 0").time_base();
        packet.rescale_ts(time_base(self.settings.rate), to);
        packet.set_stream(0);
        packet.set_position(-1);
        packet.write_interleaved(&mut self.output).map_err(|error| failed(&self.name, error))
    }

    /// Copies sound that belongs before picture `dts`, so that both lie near each other in the file.
    fn sound_until(&mut self, dts: i64) -> Result<()> {
        let seconds = dts as f64 * f64::from(time_base(self.settings.rate));
        match &mut self.sound {
            Some(sound) => sound.copy_until(seconds, &mut self.output, &self.name),
            None => Ok(()),
        }
    }

    fn finish(mut self) -> Result<u64> {
        if let Some(sound) = &mut self.sound {
            sound.copy_until(f64::INFINITY, &mut self.output, &self.name)?;
        }
        self.output.write_trailer().map_err(|error| failed(&self.name, error))?;
        Ok(self.frames)
    }
}

/// Which frame of its segment a packet shows, if its time lies on the frame grid.
fn frame_number(ticks: i64, from: av::Rational, settings: &VideoSettings) -> Option<i64> {
    let frame = time_base(settings.rate);
    let numerator = i128::from(ticks) * i128::from(from.numerator()) * i128::from(frame.denominator());
    let denominator = i128::from(from.denominator()) * i128::from(frame.numerator());
    (numerator % denominator == 0).then(|| (numerator / denominator) as i64)
}

/// Frames by which a segment's first packet is decoded before it is shown.
fn delay(source: &mut format::context::Input, video: usize, settings: &VideoSettings) -> Result<i64> {
    let from = source.stream(video).expect("the index comes from this file").time_base();
    let (mut packet, mut damaged) = (av::Packet::empty(), 0);
    let wrong = || MediaError::codec("joining segments", "the first segment does not start on the frame grid");
    if !input::read(source, video, &mut packet, &mut damaged) {
        return Err(wrong());
    }
    let number = |ticks: Option<i64>| ticks.and_then(|ticks| frame_number(ticks, from, settings)).ok_or_else(wrong);
    Ok(number(packet.pts())? - number(packet.dts())?)
}

/// Reads the joined file back: its frames are counted, and those on either side of every seam decoded.
pub(crate) fn check(path: &Path, seams: &[u64], frames: u64) -> Result<()> {
    let doing = || format!("checking {}", path.display());
    let index = Arc::new(own_index(path)?);
    if index.len() as u64 != frames || !index.warnings.is_empty() {
        return Err(MediaError::codec(doing(), format!("{} of {frames} frames are there", index.len())));
    }
    let mut decoder = FrameDecoder::open(path, index, 1)?;
    for &seam in seams {
        for frame in seam.saturating_sub(1)..=seam {
            decoder.frame(frame as usize)?;
        }
        if decoder.warnings() > 0 {
            return Err(MediaError::codec(doing(), format!("it does not decode cleanly at frame {seam}")));
        }
    }
    Ok(())
}

fn failed(path: &Path, error: av::Error) -> MediaError {
    output::write_failed("writing", path, error)
}
