//! What a file is: its header and one decoded frame.

use std::path::Path;

use edits::{FrameRate, SourceFacts};
use ffmpeg_next as av;
use ffmpeg_next::{codec, color, format, frame};
use serde::{Deserialize, Serialize};

use crate::error::{MediaError, Result};
use crate::feed::Feeder;
use crate::frame_tags;
use crate::index::FrameIndex;
use crate::input;
use crate::memory;
use crate::normalise::Target;
use crate::orientation::Orientation;
use crate::stream::{MAX_SIDE, Parameters};

/// Packets that are read in search of a first decodable frame before a stream is called undecodable.
const PACKETS_TO_FIRST_FRAME: usize = 2_000;

/// The facts of a video file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// libav's name of the container, such as `mov,mp4,m4a,3gp,3g2,mj2`.
    pub container: String,
    pub codec: String,
    pub pixel_format: String,
    pub coded_width: u32,
    pub coded_height: u32,
    /// Displayed size in square pixels, after rotation and sample aspect ratio.
    pub width: u32,
    pub height: u32,
    /// Degrees clockwise by which the stored picture is turned for display.
    pub rotation: u32,
    pub mirrored: bool,
    /// Width and height of a stored pixel, reduced.
    pub sample_aspect_ratio: (u32, u32),
    /// Average frame rate.
    pub rate: FrameRate,
    /// Seconds, as the container states; 0 where it does not.
    pub duration: f64,
    /// Seconds of the first time stamp.
    pub start_time: f64,
    pub interlaced: bool,
    pub colour: Colour,
    pub audio: Option<AudioInfo>,
}

/// The colour tags of the video stream, by their ITU-T H.273 names; `None` where untagged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Colour {
    pub matrix: Option<String>,
    pub range: Option<String>,
    pub primaries: Option<String>,
    pub transfer: Option<String>,
}

/// The sound stream that belongs to the picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioInfo {
    pub codec: String,
    pub sample_rate: u32,
    pub channels: u32,
}

/// Reads a file's header and decodes one frame.
///
/// # Errors
/// [`MediaError::Refused`] when the file is empty (`empty_file`), not a video (`not_a_video`), has no video stream or
/// only a cover picture (`no_video_stream`), is larger than [`MAX_SIDE`] a side (`too_large`), claims in its headers what
/// it cannot hold (`unreadable`), is of a codec that is not read (`unsupported_codec`) or gives no frame (`undecodable`).
pub fn probe(path: &Path) -> Result<Probe> {
    let mut source = input::open_unknown(path)?;
    let index = input::video_stream(&source)?;
    let first = first_frame(&mut source, index)?;
    let described = describe(&mut source, index, &first);
    drop((first, source));
    memory::return_to_system();
    described
}

/// What the planner needs of a source.
pub fn facts(probe: &Probe, index: &FrameIndex) -> SourceFacts {
    SourceFacts {
        width: probe.width,
        height: probe.height,
        frames: index.times.clone(),
        rate: probe.rate,
        has_audio: probe.audio.is_some() || index.has_late_sound(),
    }
}

fn describe(source: &mut format::context::Input, index: usize, first: &frame::Video) -> Result<Probe> {
    let target = target(source, index, Some(first))?;
    let sample_aspect_ratio = input::sample_aspect_ratio(source, index);
    let rate = input::frame_rate(source, index);
    let audio = input::audio_stream(source).and_then(|stream| {
        let stream = source.stream(stream)?;
        let parameters = Parameters::of(&stream);
        Some(AudioInfo {
            codec: stream.parameters().id().name().to_owned(),
            sample_rate: parameters.sample_rate,
            channels: parameters.channels,
        })
    });
    let stream = source.stream(index).expect("the index comes from this file");
    let start = stream.start_time();
    let time_base = f64::from(stream.time_base());
    let seconds = |ticks: i64| if ticks == av::ffi::AV_NOPTS_VALUE { 0.0 } else { ticks as f64 * time_base };
    let container_seconds = source.duration() as f64 / f64::from(av::ffi::AV_TIME_BASE);
    Ok(Probe {
        container: source.format().name().to_owned(),
        codec: stream.parameters().id().name().to_owned(),
        pixel_format: first.format().descriptor().map_or_else(String::new, |d| d.name().to_owned()),
        coded_width: first.width(),
        coded_height: first.height(),
        width: target.size.0,
        height: target.size.1,
        rotation: target.orientation.degrees(),
        mirrored: target.orientation.is_mirrored(),
        sample_aspect_ratio,
        rate,
        duration: match seconds(stream.duration()) {
            known if known > 0.0 => known,
            // Matroska counts from 0, wherever the film starts.
            _ if source.format().name().contains("matroska") => (container_seconds - seconds(start).max(0.0)).max(0.0),
            _ => container_seconds.max(0.0),
        },
        start_time: seconds(start),
        interlaced: target.interlaced,
        colour: Colour {
            matrix: first
                .color_space()
                .name()
                .filter(|_| first.color_space() != color::Space::Unspecified)
                .map(str::to_owned),
            range: first
                .color_range()
                .name()
                .filter(|_| first.color_range() != color::Range::Unspecified)
                .map(str::to_owned),
            primaries: first
                .color_primaries()
                .name()
                .filter(|_| first.color_primaries() != color::Primaries::Unspecified)
                .map(str::to_owned),
            transfer: first
                .color_transfer_characteristic()
                .name()
                .filter(|_| first.color_transfer_characteristic() != color::TransferCharacteristic::Unspecified)
                .map(str::to_owned),
        },
        audio,
    })
}

/// How a stream's frames become upright pictures; `first` is one of them, where one is at hand.
pub(crate) fn target(
    source: &mut format::context::Input,
    index: usize,
    first: Option<&frame::Video>,
) -> Result<Target> {
    let ratio = input::sample_aspect_ratio(source, index);
    let stream = source.stream(index).expect("the index comes from this file");
    let parameters = Parameters::of(&stream);
    let (width, height) = first.map_or((parameters.width, parameters.height), |f| (f.width(), f.height()));
    if width == 0 || height == 0 {
        return Err(MediaError::refused("undecodable", "the video stream does not say how large its pictures are"));
    }
    let orientation = stream
        .side_data()
        .find(|data| data.kind() == codec::packet::side_data::Type::DisplayMatrix)
        .map_or(Orientation::Upright, |data| Orientation::from_display_matrix(data.data()));
    let wide = (f64::from(width) * f64::from(ratio.0) / f64::from(ratio.1)).round().max(1.0) as u32;
    let size = if orientation.swaps_sides() { (height, wide) } else { (wide, height) };
    if size.0.max(size.1).max(width).max(height) > MAX_SIDE {
        return Err(MediaError::refused(
            "too_large",
            format!("the picture is {}x{} pixels; {MAX_SIDE} a side is the most", size.0, size.1),
        ));
    }
    Ok(Target {
        orientation,
        size,
        time_base: stream.time_base(),
        interlaced: !input::stores_fields(&stream)
            && (input::is_interlaced(&stream) || first.is_some_and(frame::Video::is_interlaced)),
    })
}

/// Decodes up to the first frame.
pub(crate) fn first_frame(source: &mut format::context::Input, index: usize) -> Result<frame::Video> {
    let undecodable = |detail: String| MediaError::refused("undecodable", detail);
    let stream = source.stream(index).expect("the index comes from this file");
    input::check_size(&stream)?;
    let mut feeder = Feeder::of(&stream);
    let mut decoder = input::decoder(&stream, 1)?
        .video()
        .map_err(|error| undecodable(format!("the video stream cannot be decoded: {error}")))?;
    let mut packet = av::Packet::empty();
    let mut first = frame::Video::empty();
    let mut damaged = 0;
    for _ in 0..PACKETS_TO_FIRST_FRAME {
        if !input::read(source, index, &mut packet, &mut damaged) {
            break;
        }
        // A packet the decoder refuses is damage before the first good frame.
        if feeder.send(&mut decoder, &packet) && decoder.receive_frame(&mut first).is_ok() {
            frame_tags::check(&mut first);
            return Ok(first);
        }
    }
    let drained = decoder.send_eof().and_then(|()| decoder.receive_frame(&mut first));
    drained.map_err(|_| undecodable("no frame of the video stream can be decoded".to_owned()))?;
    frame_tags::check(&mut first);
    Ok(first)
}
