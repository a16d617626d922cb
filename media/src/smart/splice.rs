//! Putting rendered stretches into a copy of the file.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edits::Rat;
use ffmpeg_next as av;
use ffmpeg_next::format;

use super::layout::SmartLayout;
use crate::decode::FrameDecoder;
use crate::edit_list;
use crate::error::{MediaError, Result};
use crate::h264::{AvcRecord, Sps, pps_ids};
use crate::index::{FrameIndex, own_index};
use crate::input;
use crate::output::{self, Unfinished};
use crate::tags;
use crate::tracks::Tracks;

/// What [`splice`] made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spliced {
    pub frames: u64,
    /// Frames whose packets are the source's own.
    pub copied_frames: u64,
    /// Length of the pictures.
    pub seconds: f64,
    pub bytes: u64,
}

/// Writes a copy of `source` in which rendered parts stand for their frames.
///
/// `rendered` are files of [`crate::TimedEncoder`] with [`SmartLayout::settings`] for frames of
/// [`SmartLayout::parts`], in order. All other packets, sound too, are the source's, byte for byte, unless `sound` is a file
/// of [`crate::render_audio`] with the main sound, which MP4 cannot hold as it is; frame times, chapters, titles and
/// languages stay. The file can be played while it loads. Each seam is decoded as a check, from
/// the stretch before to the one after.
///
/// # Errors
/// [`MediaError::Codec`] when a part does not cover whole stretches, misses frames, or does not decode cleanly among
/// its neighbours; [`MediaError::Io`]. No file remains then.
pub fn splice(
    source: &Path,
    index: &FrameIndex,
    layout: &SmartLayout,
    rendered: &[(Range<usize>, PathBuf)],
    sound: Option<&Path>,
    out: &Path,
) -> Result<Spliced> {
    let patches: Vec<Patch> = rendered.iter().map(|part| Patch::open(part, layout, index)).collect::<Result<_>>()?;
    if !patches.is_sorted_by(|a, b| a.packets.end <= b.packets.start) {
        return Err(MediaError::codec("splicing", "rendered parts are out of order"));
    }
    let file = Unfinished::new(out);
    let mut writer = Writer::create(source, index, layout, &patches, sound, out)?;
    writer.copy(index, layout, patches)?;
    let hidden_tail = writer.finish()?;
    let length = index.times.duration();
    if hidden_tail {
        edit_list::limit(out, index.start() + length)?;
    }
    check(out, index, layout, rendered)?;
    let frames = index.len() as u64;
    let fresh: usize = rendered.iter().map(|(frames, _)| frames.len()).sum();
    Ok(Spliced {
        frames,
        copied_frames: frames - fresh as u64,
        seconds: *length.numer() as f64 / *length.denom() as f64,
        bytes: file.keep()?,
    })
}

/// A rendered part and the source's packets it replaces.
struct Patch {
    packets: Range<usize>,
    /// Display times of its packets in decoding order, in the source's ticks.
    times: Vec<i64>,
    record: AvcRecord,
    file: format::context::Input,
    stream: usize,
    path: PathBuf,
}

impl Patch {
    fn open((frames, path): &(Range<usize>, PathBuf), layout: &SmartLayout, index: &FrameIndex) -> Result<Self> {
        let wrong = |why: &str| MediaError::codec(format!("splicing {}", path.display()), why);
        let own: Vec<_> = layout
            .stretches
            .iter()
            .filter(|stretch| frames.start < stretch.frames.end && stretch.frames.start < frames.end)
            .collect();
        let (Some(first), Some(last)) = (own.first(), own.last()) else {
            return Err(wrong("it stands for no frames"));
        };
        if (first.frames.start, last.frames.end) != (frames.start, frames.end) {
            return Err(wrong("it does not stand for whole stretches"));
        }
        let mut file = input::open(path)?;
        let stream = input::video_stream(&file)?;
        let video = file.stream(stream).expect("the index comes from this file");
        let record = AvcRecord::parse(&output::extradata(&video)).ok_or_else(|| wrong("it has no parameter sets"))?;
        let times = input::display_times(&mut file, stream).ok_or_else(|| wrong("it is damaged"))?;
        let mut sorted = times.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != frames.len() || times.len() != frames.len() {
            return Err(wrong(&format!("it has {} frames where {} are replaced", times.len(), frames.len())));
        }
        let shown = &index.times.pts()[frames.clone()];
        let times = times.iter().map(|time| shown[sorted.partition_point(|other| other < time)]).collect();
        let packets = first.packets.start..last.packets.end;
        Ok(Self { packets, times, record, file: input::open(path)?, stream, path: path.clone() })
    }
}

/// The file being written.
struct Writer {
    source: format::context::Input,
    output: format::context::Output,
    time_base: av::Rational,
    sound: Tracks,
    last: Option<i64>,
    /// Whether pictures are written that an edit list hides behind the last one.
    hidden_tail: bool,
    name: PathBuf,
}

impl Writer {
    fn create(
        source: &Path,
        index: &FrameIndex,
        layout: &SmartLayout,
        patches: &[Patch],
        sound: Option<&Path>,
        out: &Path,
    ) -> Result<Self> {
        let name = out.to_owned();
        let path = source;
        let source = input::open(path)?;
        let stream = source
            .stream(index.stream)
            .ok_or_else(|| MediaError::codec("splicing", "the index belongs to another file"))?;
        let mut record = layout.record.clone();
        patches.iter().for_each(|patch| record.merge(&patch.record));
        check_numbers(&record)?;
        let mut output = output::create(out, "mp4")?;
        let to = output::add_copy(&mut output, &stream)?;
        tags::copy_stream_tags(&stream, &mut output, to);
        let mut added = output.stream_mut(to).expect("the stream was just added");
        output::set_extradata(&mut added, &record.to_bytes())?;
        added.set_avg_frame_rate(stream.avg_frame_rate());
        let time_base = stream.time_base();
        let sound = match sound {
            Some(sound) => Tracks::main(sound, -index.start(), &mut output)?,
            None => Tracks::all(path, Rat::from(0), &mut output)?,
        };
        tags::write_tags(Some(&source), false, &mut output);
        tags::copy_chapters(&source, Rat::from(0), &mut output)?;
        output::start(&mut output, out)?;
        Ok(Self { source, output, time_base, sound, last: None, hidden_tail: false, name })
    }

    /// Walks the source's packets once.
    fn copy(&mut self, index: &FrameIndex, layout: &SmartLayout, patches: Vec<Patch>) -> Result<()> {
        let last_shown = *index.times.pts().last().expect("an index has a frame");
        let mut patches = patches.into_iter().peekable();
        let (mut packet, mut damaged) = (av::Packet::empty(), 0);
        let mut number = 0;
        while input::read(&mut self.source, index.stream, &mut packet, &mut damaged) {
            let dts = *layout.decoding_times.get(number).ok_or_else(|| self.changed())?;
            let pts = packet.pts().ok_or_else(|| self.changed())?;
            match patches.peek_mut() {
                Some(patch) if patch.packets.contains(&number) => {
                    self.replace(patch, number, dts, &mut packet, index)?;
                    if number + 1 == patch.packets.end {
                        patches.next();
                    }
                }
                _ => {
                    self.hidden_tail |= pts > last_shown;
                    self.write(&mut packet, pts, dts)?;
                }
            }
            number += 1;
        }
        if damaged > 0 || number != layout.decoding_times.len() {
            return Err(self.changed());
        }
        Ok(())
    }

    /// Writes the part's packet that takes the place of the source's packet `number`, if it has so many.
    fn replace(
        &mut self,
        patch: &mut Patch,
        number: usize,
        dts: i64,
        packet: &mut av::Packet,
        index: &FrameIndex,
    ) -> Result<()> {
        let Some(&pts) = patch.times.get(number - patch.packets.start) else {
            return Ok(());
        };
        let mut damaged = 0;
        if !input::read(&mut patch.file, patch.stream, packet, &mut damaged) || damaged > 0 {
            return Err(MediaError::codec(format!("splicing {}", patch.path.display()), "frames are missing"));
        }
        let frame = index.times.pts().partition_point(|&other| other <= pts);
        let next = index.times.pts().get(frame).copied().unwrap_or(index.times.end());
        packet.set_duration(next - pts);
        self.write(packet, pts, dts)
    }

    fn write(&mut self, packet: &mut av::Packet, pts: i64, dts: i64) -> Result<()> {
        if dts > pts || self.last.is_some_and(|last| last >= dts) {
            return Err(MediaError::codec(
                format!("writing {}", self.name.display()),
                format!("a picture shown at {pts} would be decoded at {dts}"),
            ));
        }
        self.last = Some(dts);
        self.sound.copy_until(dts as f64 * f64::from(self.time_base), &mut self.output, &self.name)?;
        let to = self.output.stream(0).expect("the pictures are stream 0").time_base();
        packet.set_pts(Some(pts));
        packet.set_dts(Some(dts));
        packet.rescale_ts(self.time_base, to);
        packet.set_stream(0);
        packet.set_position(-1);
        packet.write_interleaved(&mut self.output).map_err(|error| failed(&self.name, error))
    }

    fn finish(mut self) -> Result<bool> {
        self.sound.copy_until(f64::INFINITY, &mut self.output, &self.name)?;
        self.output.write_trailer().map_err(|error| failed(&self.name, error))?;
        Ok(self.hidden_tail)
    }

    fn changed(&self) -> MediaError {
        MediaError::codec(format!("writing {}", self.name.display()), "the source has changed since it was planned")
    }
}

/// Frames behind a seam that are decoded as a check: more than H.264 reorders.
const PAST_SEAM: usize = 17;

/// No two parameter sets may have one number.
fn check_numbers(record: &AvcRecord) -> Result<()> {
    let mut sps: Vec<_> = record.sps.iter().map(|set| Sps::parse(set).map(|sps| sps.id)).collect();
    let mut pps: Vec<_> = record.pps.iter().map(|set| pps_ids(set).map(|ids| ids.0)).collect();
    for numbers in [&mut sps, &mut pps] {
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.len() != count || count > 31 {
            return Err(MediaError::codec("splicing", "parameter sets of the parts and of the source clash"));
        }
    }
    Ok(())
}

/// Reads the file back: the same frames at the same times, and none damaged on either side of any seam.
fn check(path: &Path, source: &FrameIndex, layout: &SmartLayout, rendered: &[(Range<usize>, PathBuf)]) -> Result<()> {
    let wrong = |why: String| MediaError::codec(format!("checking {}", path.display()), why);
    let index = Arc::new(own_index(path)?);
    if index.len() != source.len() || !index.warnings.is_empty() {
        return Err(wrong(format!("{} of {} frames are there", index.len(), source.len())));
    }
    let same = |n: usize| index.times.seconds(n) == source.times.seconds(n);
    if index.start() != source.start() || !(0..source.len()).all(same) {
        return Err(wrong("frames are not shown when they were".to_owned()));
    }
    let stretches: Vec<Range<usize>> = layout.stretches().collect();
    let mut decoder = FrameDecoder::open(path, index, 1)?;
    let mut decoded = 0;
    let seams = rendered.iter().flat_map(|(frames, _)| [frames.start, frames.end]);
    for seam in seams.filter(|seam| (1..source.len()).contains(seam)) {
        // All of the stretch before, and of the one behind as much as could still be shown before its end.
        let before = stretches.partition_point(|stretch| stretch.end < seam);
        for n in stretches[before].start.max(decoded)..(seam + PAST_SEAM).min(source.len()) {
            decoder.frame(n)?;
            decoded = n + 1;
            if decoder.warnings() > 0 {
                return Err(wrong(format!("it does not decode cleanly at frame {n}")));
            }
        }
    }
    Ok(())
}

fn failed(path: &Path, error: av::Error) -> MediaError {
    output::write_failed("writing", path, error)
}
