//! Joining parts whose frames have times of their own, by stream copy.

use std::path::{Path, PathBuf};

use edits::{FrameRate, Rat};
use ffmpeg_next as av;
use ffmpeg_next::format;

use crate::assemble::{Assembled, check};
use crate::encode::time_base;
use crate::error::{MediaError, Result};
use crate::h264::{AvcRecord, Sps};
use crate::input;
use crate::output::{self, Unfinished};
use crate::reorder::DecodingTimes;
use crate::tags::{self, Chapter};
use crate::tracks::Tracks;

/// A file of [`crate::TimedEncoder`] and its place in the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedPart {
    pub path: PathBuf,
    /// Ticks of the whole at which its first frame is shown.
    pub offset: i64,
    /// Ticks of the whole at which its last frame ends.
    pub end: i64,
}

/// Where the sound comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AudioFrom<'a> {
    /// The one track of a file of [`crate::render_audio`].
    File(&'a Path),
    /// Every sound stream of a source, packet by packet; `start` seconds on its own clock become time 0.
    CopyOf {
        source: &'a Path,
        start: Rat,
    },
    None,
}

/// What goes with the pictures.
#[derive(Debug, Clone)]
pub struct Assembly<'a> {
    /// Seconds a tick of the parts' places: the time base of their encoder.
    pub time_base: (i32, i32),
    /// The rate to announce.
    pub rate: FrameRate,
    pub audio: AudioFrom<'a>,
    pub chapters: &'a [Chapter],
    /// A source whose title, dates and other tags the file takes over.
    pub tags_of: Option<&'a Path>,
    /// Written into the file's comment.
    pub simulated: bool,
}

/// Joins parts, in order, into an MP4 file that can be played while it loads.
///
/// Nothing is encoded again, and every frame is shown at its part's offset plus its own time.
///
/// # Errors
/// [`MediaError::Codec`] when parts have different parameter sets, overlap, miss frames, or cannot be decoded across a
/// seam, and when sound to be copied does not fit into MP4; [`MediaError::Io`]. No file remains then.
pub fn assemble_timed(parts: &[TimedPart], assembly: &Assembly, out: &Path) -> Result<Assembled> {
    let (first, last) = match parts {
        [first, .., last] => (first, last),
        [only] => (only, only),
        [] => return Err(MediaError::codec("joining parts", "there are none")),
    };
    let file = Unfinished::new(out);
    let mut joiner = Joiner::create(out, &first.path, assembly)?;
    let mut seams = Vec::new();
    for part in parts {
        seams.push(joiner.frames);
        joiner.part(part)?;
    }
    let frames = joiner.finish()?;
    check(out, &seams, frames)?;
    let seconds = (last.end - first.offset) as f64 * f64::from(av::Rational::from(assembly.time_base));
    Ok(Assembled { frames, seconds, bytes: file.keep()? })
}

/// The file being joined.
struct Joiner {
    output: format::context::Output,
    time_base: av::Rational,
    parameter_sets: Vec<u8>,
    times: DecodingTimes,
    /// Where the part before ended.
    end: Option<i64>,
    frames: u64,
    sound: Option<Tracks>,
    name: PathBuf,
}

impl Joiner {
    fn create(out: &Path, first: &Path, assembly: &Assembly) -> Result<Self> {
        let source = input::open(first)?;
        let stream = source.stream(input::video_stream(&source)?).expect("the index comes from this file");
        let parameter_sets = output::extradata(&stream);
        let mut output = output::create(out, "mp4")?;
        let to = output::add_copy(&mut output, &stream)?;
        let tagged = assembly.tags_of.map(input::open).transpose()?;
        if let Some(tagged) = &tagged {
            let pictures = tagged.stream(input::video_stream(tagged)?).expect("the index comes from this file");
            tags::copy_names(&pictures, &mut output, to);
        }
        let base = av::Rational::from(assembly.time_base);
        let mut added = output.stream_mut(to).expect("the stream was just added");
        added.set_time_base(base);
        added.set_avg_frame_rate(time_base(assembly.rate).invert());
        let sound = match assembly.audio {
            AudioFrom::File(path) => Some(Tracks::main(path, Rat::from(0), &mut output)?),
            AudioFrom::CopyOf { source, start } => Some(Tracks::all(source, start, &mut output)?),
            AudioFrom::None => None,
        };
        tags::write_tags(tagged.as_ref(), assembly.simulated, &mut output);
        tags::add_chapters(&mut output, assembly.chapters)?;
        output::start(&mut output, out)?;
        let lead = f64::from(time_base(assembly.rate)) / f64::from(base);
        Ok(Self {
            output,
            time_base: base,
            times: DecodingTimes::new(reorder_depth(&parameter_sets).unwrap_or(2), lead.round() as i64),
            parameter_sets,
            end: None,
            frames: 0,
            sound,
            name: out.to_owned(),
        })
    }

    /// Copies one part's packets behind those before it.
    fn part(&mut self, part: &TimedPart) -> Result<()> {
        let doing = || format!("joining part {}", part.path.display());
        let own = self.own_times(part)?;
        let mut sorted = own.clone();
        sorted.sort_unstable();
        let rising = sorted.is_sorted_by(|a, b| a < b);
        let inside = sorted.first() == Some(&part.offset) && sorted.last().is_some_and(|&last| last < part.end);
        if !rising || !inside || self.end.is_some_and(|end| end > part.offset) {
            return Err(MediaError::codec(doing(), "its frames do not fit between those of its neighbours"));
        }
        self.end = Some(part.end);
        let mut source = input::open(&part.path)?;
        let video = input::video_stream(&source)?;
        let (mut packet, mut damaged) = (av::Packet::empty(), 0);
        for &pts in &own {
            if !input::read(&mut source, video, &mut packet, &mut damaged) {
                return Err(MediaError::codec(doing(), "frames are missing"));
            }
            let dts = self.times.next(pts).ok_or_else(|| {
                MediaError::codec(doing(), "its pictures are reordered further than its parameter sets say")
            })?;
            let next = sorted.partition_point(|&other| other <= pts);
            let until = sorted.get(next).copied().unwrap_or(part.end);
            if let Some(sound) = &mut self.sound {
                sound.copy_until(dts as f64 * f64::from(self.time_base), &mut self.output, &self.name)?;
            }
            packet.set_pts(Some(pts));
            packet.set_dts(Some(dts));
            packet.set_duration(until - pts);
            self.write(&mut packet)?;
        }
        self.frames += own.len() as u64;
        Ok(())
    }

    /// The display times of a part's packets, in decoding order, in ticks of the whole.
    fn own_times(&self, part: &TimedPart) -> Result<Vec<i64>> {
        let doing = || format!("joining part {}", part.path.display());
        let mut source = input::open(&part.path)?;
        let video = input::video_stream(&source)?;
        let stream = source.stream(video).expect("the index comes from this file");
        if output::extradata(&stream) != self.parameter_sets {
            return Err(MediaError::codec(doing(), "its H.264 parameter sets are not those of the first part"));
        }
        let (from, to) = (stream.time_base(), self.time_base);
        let numerator = i128::from(from.numerator()) * i128::from(to.denominator());
        let denominator = i128::from(from.denominator()) * i128::from(to.numerator());
        let times = input::display_times(&mut source, video).filter(|times| !times.is_empty());
        let times = times.ok_or_else(|| MediaError::codec(doing(), "frames are missing"))?;
        let place = |time: i64| {
            let scaled = i128::from(time) * numerator;
            (scaled % denominator == 0).then(|| part.offset + (scaled / denominator) as i64)
        };
        let places: Option<Vec<i64>> = times.into_iter().map(place).collect();
        places.ok_or_else(|| MediaError::codec(doing(), "a packet is not on the clock of the whole"))
    }

    fn write(&mut self, packet: &mut av::Packet) -> Result<()> {
        let to = self.output.stream(0).expect("the pictures are stream 0").time_base();
        packet.rescale_ts(self.time_base, to);
        packet.set_stream(0);
        packet.set_position(-1);
        packet.write_interleaved(&mut self.output).map_err(|error| failed(&self.name, error))
    }

    fn finish(mut self) -> Result<u64> {
        if let Some(sound) = &mut self.sound {
            sound.copy_until(f64::INFINITY, &mut self.output, &self.name)?;
        }
        self.output.write_trailer().map_err(|error| failed(&self.name, error))?;
        Ok(self.frames)
    }
}

/// Frames by which decoding may run ahead of display, by the parameter sets.
pub(crate) fn reorder_depth(parameter_sets: &[u8]) -> Option<usize> {
    let record = AvcRecord::parse(parameter_sets)?;
    Sps::parse(record.sps.first()?)?.reorder.map(|depth| depth as usize)
}

fn failed(path: &Path, error: av::Error) -> MediaError {
    output::write_failed("writing", path, error)
}
