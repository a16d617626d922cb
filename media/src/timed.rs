//! Encoding that keeps the source's own frame times.

use std::path::Path;

use edits::FrameRate;
use ffmpeg_next as av;
use serde::{Deserialize, Serialize};

use crate::encode::{self, EncodedSegment, X264File, X264Settings};
use crate::error::{MediaError, Result};
use crate::shape::{ColourTags, StreamShape};
use crate::yuv::YuvFrame;

/// How pictures with times of their own are encoded: the same for every part that is joined later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimedSettings {
    /// Even, in pixels.
    pub width: u32,
    pub height: u32,
    /// Seconds a tick of the pictures' times, as a fraction.
    pub time_base: (i32, i32),
    /// For rate control alone.
    #[serde(with = "crate::wire::frame_rate")]
    pub rate: FrameRate,
    pub colour: ColourTags,
    /// x264's constant rate factor, 0..51.
    pub crf: u8,
    /// x264's preset, such as `fast`.
    pub preset: String,
    pub(crate) matched: Option<Matched>,
}

/// What a part must have in common with a stream it is put into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Matched {
    #[serde(with = "crate::wire::profile")]
    pub profile: crate::wire::Profile,
    /// H.264's `level_idc`.
    pub level: u8,
    pub sps_id: u8,
    /// Reference frames, where the preset's number is too many.
    pub references: Option<u8>,
    /// 0 none, 1 B-frames, 2 B-frames that others refer to.
    pub reorder: u8,
    pub cabac: bool,
    /// The stream's own clock, seconds a tick, where the frame times lie on it.
    pub tick: Option<(i32, i32)>,
    /// Whether the stream promises frames of equal length.
    pub fixed_rate: bool,
}

impl TimedSettings {
    /// Settings that keep a source's size, clock and colours.
    pub fn of(shape: &StreamShape, crf: u8, preset: &str) -> Self {
        Self {
            width: shape.width,
            height: shape.height,
            time_base: shape.time_base,
            rate: shape.rate,
            colour: shape.colour,
            crf,
            preset: preset.to_owned(),
            matched: None,
        }
    }

    fn x264(&self) -> Result<X264Settings<'_>> {
        let time_base = av::Rational::from(self.time_base);
        if time_base.numerator() <= 0 || time_base.denominator() <= 0 {
            return Err(MediaError::codec("opening x264", format!("{time_base} is not a time base")));
        }
        let matched = self.matched.as_ref();
        // IDR pictures are requested by time; the number lets x264 plan no further ahead than the next one.
        let mut parameters = format!("keyint={}", self.rate.as_f64().ceil().max(1.0));
        if let Some(matched) = matched {
            parameters = format!("{parameters}:{}", matched.parameters());
        }
        Ok(X264Settings {
            size: (self.width, self.height),
            time_base: matched.and_then(|matched| matched.tick).map_or(time_base, av::Rational::from),
            rate: self.rate,
            colour: &self.colour,
            crf: self.crf,
            preset: &self.preset,
            profile: matched.map(|matched| matched.profile),
            parameters,
            gop: None,
            frame_ticks: 0,
        })
    }

    /// The parameter sets x264 gives with these settings, and what else it puts before the first picture.
    pub(crate) fn parameter_sets(&self) -> Result<Vec<Vec<u8>>> {
        encode::headers(&self.x264()?)
    }
}

impl Matched {
    fn parameters(&self) -> String {
        let Self { level, sps_id, .. } = self;
        let mut parameters = format!("level={level}:sps-id={sps_id}");
        parameters += match self.reorder {
            0 => ":bframes=0",
            1 => ":b-pyramid=none",
            _ => ":b-pyramid=normal",
        };
        if let Some(references) = self.references {
            parameters += &format!(":ref={references}");
        }
        if !self.cabac {
            parameters += ":cabac=0";
        }
        if self.fixed_rate && self.tick.is_some() {
            parameters += ":force-cfr=1";
        }
        parameters
    }
}

/// Encodes pictures at given times into one MP4 file with x264: a part for [`crate::assemble_timed`] or
/// [`crate::splice`].
///
/// As reproducible as [`crate::SegmentEncoder`]. Groups of pictures are closed and at most a second long; the first
/// picture is an IDR. In the file the first picture is at time 0. An encoder that is dropped before
/// [`TimedEncoder::finish`] removes its file.
pub struct TimedEncoder {
    file: X264File,
    clock: Clock,
    first: Option<i64>,
    last: i64,
    last_idr: i64,
}

/// From the source's ticks to the encoder's.
#[derive(Clone, Copy)]
struct Clock {
    from: av::Rational,
    to: av::Rational,
}

impl Clock {
    /// `None` where a time does not lie on the encoder's clock.
    fn convert(self, ticks: i64) -> Option<i64> {
        let (from, to) = (self.from, self.to);
        let numerator = i128::from(ticks) * i128::from(from.numerator()) * i128::from(to.denominator());
        let denominator = i128::from(from.denominator()) * i128::from(to.numerator());
        (numerator % denominator == 0).then(|| (numerator / denominator) as i64)
    }

    /// Source ticks a second, at least one.
    fn second(self) -> i64 {
        (i64::from(self.from.denominator()) / i64::from(self.from.numerator())).max(1)
    }
}

impl TimedEncoder {
    /// Opens the encoder and creates the file.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when x264 refuses the settings, [`MediaError::Io`] when the file cannot be created.
    pub fn create(path: &Path, settings: &TimedSettings) -> Result<Self> {
        let x264 = settings.x264()?;
        let clock = Clock { from: settings.time_base.into(), to: x264.time_base };
        let file = X264File::create(path, &x264)?;
        Ok(Self { file, clock, first: None, last: 0, last_idr: 0 })
    }

    /// Encodes the picture shown at `pts` (ticks of the settings' time base, later than the one before). With `idr`,
    /// decoding can start at it; that is so at least every second anyway.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when the picture has another size than the settings, the time does not rise, or encoding
    /// or writing fails.
    pub fn push(&mut self, frame: &YuvFrame, pts: i64, idr: bool) -> Result<()> {
        let first = *self.first.get_or_insert(pts);
        let starts = pts == first;
        if !starts && pts <= self.last {
            return Err(MediaError::codec("encoding", format!("a picture at {pts} came after one at {}", self.last)));
        }
        let idr = starts || idr || pts - self.last_idr >= self.clock.second();
        let time = self.clock.convert(pts - first).ok_or_else(|| {
            MediaError::codec("encoding", format!("a picture at {pts} does not lie on the stream's own clock"))
        })?;
        self.file.push(frame, time, idr)?;
        self.last = pts;
        if idr {
            self.last_idr = pts;
        }
        Ok(())
    }

    /// Writes what is left and closes the file.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when encoding or writing fails, or no picture was pushed; the file is removed then.
    pub fn finish(self) -> Result<EncodedSegment> {
        self.file.finish()
    }
}
