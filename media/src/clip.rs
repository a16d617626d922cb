//! Cutting a clip out by stream copy.
//!
//! Decoding must begin at a key frame, and pictures near the end may need one that is shown later. Those come along
//! and an edit list hides them, as it hides the priming samples of the sound.

use std::ops::Range;
use std::path::{Path, PathBuf};

use edits::Rat;
use ffmpeg_next as av;
use ffmpeg_next::format;

use crate::edit_list;
use crate::error::{MediaError, Result};
use crate::index::{FrameIndex, own_index};
use crate::input;
use crate::output::{self, Unfinished};
use crate::packets::Stamp;
use crate::reorder::DecodingTimes;
use crate::source::Source;
use crate::stream::Parameters;
use crate::tags;
use crate::tracks::{self, Track};

/// Seconds of sound before the start that decoders are given.
const SETTLING: f64 = 0.25;

/// Seconds past the end after which sound that has not come yet is not waited for.
const PATIENCE: f64 = 5.0;

/// What [`copy_clip`] made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Copied {
    /// Frames that are shown.
    pub frames: u64,
    /// Length of the pictures.
    pub seconds: f64,
    pub bytes: u64,
}

/// Copies `frames` of a video, and their sound, into an MP4 file that can be played while it loads; nothing is encoded
/// again. Players start with the first frame at time 0 and stop after the last. Only that part of the source is read.
///
/// # Errors
/// [`MediaError::Refused`] with `unsupported` when MP4 cannot hold the pictures' or the sound's codec, or the
/// container has no presentation times; [`MediaError::Codec`] when the range is empty or past the end, or the
/// clip does not come out with its frames; [`MediaError::Io`]. No file remains then.
pub fn copy_clip(source: &Path, index: &FrameIndex, frames: Range<usize>, out: &Path) -> Result<Copied> {
    if frames.is_empty() || frames.end > index.len() {
        return Err(MediaError::codec("cutting a clip", format!("there are no frames {frames:?}")));
    }
    if index.stamp != Stamp::Pts || index.stamps.is_some() {
        return Err(unsupported("the file does not say when its frames are shown"));
    }
    let span = Span::of(index, &frames);
    if index
        .joins
        .as_ref()
        .is_some_and(|joins| joins.starts.iter().any(|start| (span.key + 1..span.end).contains(start)))
    {
        return Err(unsupported("the time stamps restart within the clip"));
    }
    let file = Unfinished::new(out);
    let mut cutter = Cutter::create(source, index, &span, out)?;
    cutter.seek(index, &span)?;
    cutter.copy(index, &span)?;
    drop(cutter);
    edit_list::limit(out, span.length)?;
    check(out, index, &frames)?;
    let seconds = *span.length.numer() as f64 / *span.length.denom() as f64;
    Ok(Copied { frames: frames.len() as u64, seconds, bytes: file.keep()? })
}

fn unsupported(why: impl Into<String>) -> MediaError {
    MediaError::refused("unsupported", format!("{}; encode the clip instead of copying it", why.into()))
}

/// What is copied, in ticks of the source's pictures.
struct Span {
    /// The key frame with which decoding starts.
    key: i64,
    key_dts: i64,
    start: i64,
    end: i64,
    origin: Rat,
    length: Rat,
}

impl Span {
    fn of(index: &FrameIndex, frames: &Range<usize>) -> Self {
        let pts = index.times.pts();
        let key = index.keys[index.key_for(frames.start)];
        let (start, end) = (pts[frames.start], pts.get(frames.end).copied().unwrap_or(index.times.end()));
        let seconds = |ticks: i64| Rat::from(i128::from(ticks)) * index.times.time_base();
        Self {
            key: key.stamp,
            key_dts: key.dts,
            start,
            end,
            origin: seconds(start),
            length: seconds(end) - seconds(start),
        }
    }
}

/// The file being written.
struct Cutter {
    source: Source,
    output: format::context::Output,
    video: usize,
    time_base: av::Rational,
    /// Where the container stores no decoding times.
    derived: Option<DecodingTimes>,
    /// By stream of the source.
    tracks: Vec<Option<Track>>,
    /// A picture's packet that was read while seeking.
    found: Option<av::Packet>,
    name: PathBuf,
}

impl Cutter {
    fn create(path: &Path, index: &FrameIndex, span: &Span, out: &Path) -> Result<Self> {
        let source = Source::open(path, index.joins.clone())?;
        let stream = source
            .stream(index.stream)
            .ok_or_else(|| MediaError::codec("cutting a clip", "the index belongs to another file"))?;
        let codec = stream.parameters().id();
        if !output::fits_mp4(codec) {
            return Err(unsupported(format!("MP4 cannot hold the pictures' codec, {}", codec.name())));
        }
        if let Some(why) = tracks::not_for_mp4(&source, index) {
            return Err(unsupported(why));
        }
        let time_base = stream.time_base();
        let stores_none = source.format().name().contains("matroska");
        let frame = (index.times.end() - index.times.pts()[0]) / index.len() as i64;
        let depth = Parameters::of(&stream).video_delay as usize;
        let mut output = output::create(out, "mp4")?;
        let to = output::add_copy(&mut output, &stream)?;
        tags::copy_stream_tags(&stream, &mut output, to);
        output.stream_mut(to).expect("the stream was just added").set_avg_frame_rate(stream.avg_frame_rate());
        let mut tracks: Vec<_> = source.streams().map(|_| None).collect();
        for index in tracks::sound_streams(&source) {
            tracks[index] = Some(Track::add(&source, index, span.origin, &mut output)?);
        }
        tags::write_tags(Some(&source), false, &mut output);
        output::start(&mut output, out)?;
        Ok(Self {
            video: index.stream,
            time_base,
            derived: stores_none.then(|| DecodingTimes::new(depth, frame)),
            tracks,
            found: None,
            name: out.to_owned(),
            source,
            output,
        })
    }

    /// Makes reading go on somewhat before the key frame, so that sound before it comes too.
    fn seek(&mut self, index: &FrameIndex, span: &Span) -> Result<()> {
        let margin = (SETTLING / f64::from(self.time_base)).ceil() as i64;
        let before = index.keys.iter().map(|key| key.dts).filter(|&dts| dts < span.key_dts - margin).max();
        for target in [Some(span.key_dts - margin), before].into_iter().flatten() {
            if self.source.seek(self.video, target).is_err() {
                continue;
            }
            let mut packet = av::Packet::empty();
            if self.source.read_next(&mut packet).is_ok() {
                let here = packet.stream() == self.video;
                let early = packet.dts().or(packet.pts()).is_some_and(|dts| dts <= span.key_dts);
                if !here || early {
                    self.found = Some(packet);
                    return Ok(());
                }
            }
        }
        self.source.reopen()
    }

    fn copy(&mut self, index: &FrameIndex, span: &Span) -> Result<()> {
        let tick = f64::from(self.time_base);
        let length = (span.end - span.start) as f64 * tick;
        let mut pictures = Pictures { started: false, ended: false, held: Vec::new() };
        let mut silent: usize = self.tracks.iter().flatten().count();
        let mut over = vec![false; self.tracks.len()];
        let mut errors = 0;
        while !(pictures.ended && silent == 0) {
            let mut packet = self.found.take().unwrap_or_else(av::Packet::empty);
            if packet.size() == 0 {
                match self.source.read_next(&mut packet) {
                    Ok(()) => {}
                    Err(av::Error::Eof) => break,
                    Err(error) => {
                        errors += 1;
                        if errors > 64 {
                            return Err(failed(&self.name, error));
                        }
                        continue;
                    }
                }
            }
            let from = packet.stream();
            if from == self.video {
                let late = packet.dts().or(packet.pts()).map_or(0.0, |dts| (dts - span.end) as f64 * tick);
                if pictures.ended && late > PATIENCE {
                    break;
                }
                self.picture(&mut pictures, packet, index, span)?;
            } else if let Some(track) = self.tracks.get_mut(from).and_then(Option::as_mut) {
                let seconds = track.seconds(&packet);
                if seconds >= length {
                    silent -= usize::from(!std::mem::replace(&mut over[from], true));
                } else if seconds >= -SETTLING {
                    track.write(&mut packet, &mut self.output, &self.name)?;
                }
            }
        }
        self.output.write_trailer().map_err(|error| failed(&self.name, error))
    }

    /// Writes a picture's packet, or holds it back until one comes that needs it.
    fn picture(
        &mut self,
        pictures: &mut Pictures,
        mut packet: av::Packet,
        index: &FrameIndex,
        span: &Span,
    ) -> Result<()> {
        pictures.started |= packet.pts() == Some(span.key);
        // Pictures of an open group that are shown before its key frame lack what they refer to.
        let Some(pts) = packet.pts().filter(|&pts| pictures.started && !pictures.ended && pts >= span.key) else {
            return Ok(());
        };
        if input::is_discarded(&packet) && (span.start..span.end).contains(&pts) {
            return Err(unsupported("an edit list hides pictures within the clip"));
        }
        let dts = match &mut self.derived {
            Some(times) => times.next(pts),
            None => packet.dts(),
        };
        let dts = dts.ok_or_else(|| unsupported("packets do not say when they are decoded"))?;
        if dts >= span.end {
            pictures.ended = true;
            return Ok(());
        }
        if let Ok(frame) = index.times.pts().binary_search(&pts) {
            let next = index.times.pts().get(frame + 1).copied().unwrap_or(index.times.end());
            packet.set_duration(next - pts);
        }
        packet.set_pts(Some(pts - span.start));
        packet.set_dts(Some(dts - span.start));
        pictures.held.push(packet);
        if pts < span.end {
            for mut packet in pictures.held.drain(..) {
                let to = self.output.stream(0).expect("the pictures are stream 0").time_base();
                packet.rescale_ts(self.time_base, to);
                packet.set_stream(0);
                packet.set_position(-1);
                packet.write_interleaved(&mut self.output).map_err(|error| failed(&self.name, error))?;
            }
        }
        Ok(())
    }
}

/// How far the pictures have come.
struct Pictures {
    started: bool,
    ended: bool,
    /// Packets that are shown after the end: written only if one that is shown before it follows.
    held: Vec<av::Packet>,
}

/// Reads the clip back: its frames and no others are shown, at their times.
fn check(path: &Path, source: &FrameIndex, frames: &Range<usize>) -> Result<()> {
    let wrong = |why: String| MediaError::codec(format!("checking {}", path.display()), why);
    let index = own_index(path)?;
    if index.len() != frames.len() {
        return Err(wrong(format!("it shows {} frames instead of {}", index.len(), frames.len())));
    }
    let origin = source.times.seconds(frames.start);
    let same = |n: usize| index.times.seconds(n) == source.times.seconds(frames.start + n) - origin;
    if index.start() != Rat::from(0) || !(0..index.len()).all(same) {
        return Err(wrong("frames are not shown at their times".to_owned()));
    }
    Ok(())
}

fn failed(path: &Path, error: av::Error) -> MediaError {
    output::write_failed("writing", path, error)
}
