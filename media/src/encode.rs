//! H.264 segments: closed groups of pictures whose bytes depend on nothing but the pictures and the settings.

use std::path::Path;

use edits::FrameRate;
use ffmpeg_next as av;
use ffmpeg_next::{codec, encoder, format, frame, picture};

use crate::error::{MediaError, Result};
use crate::h264;
use crate::output::{self, Unfinished};
use crate::shape::ColourTags;
use crate::yuv::YuvFrame;

/// How a reel's pictures are encoded: the same for every segment of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoSettings {
    /// Even, in pixels.
    pub width: u32,
    /// Even, in pixels.
    pub height: u32,
    pub rate: FrameRate,
    /// Frames from one IDR picture to the next.
    pub gop: u32,
    /// x264's constant rate factor, 0..51.
    pub crf: u8,
    /// x264's preset, such as `fast`.
    pub preset: String,
}

/// What [`SegmentEncoder::finish`] made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodedSegment {
    pub frames: u64,
    pub bytes: u64,
}

/// Encodes consecutive pictures into one MP4 file with x264.
///
/// One thread, no scene cuts, no dependence on the processor's instruction sets: equal pictures give equal bytes
/// anywhere. The first picture and every `gop`-th after it is an IDR. An encoder that is dropped before
/// [`SegmentEncoder::finish`] removes its file.
pub struct SegmentEncoder {
    file: X264File,
}

impl SegmentEncoder {
    /// Opens the encoder and creates the file.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when x264 refuses the settings, [`MediaError::Io`] when the file cannot be created.
    pub fn create(path: &Path, settings: &VideoSettings) -> Result<Self> {
        let gop = settings.gop;
        if gop == 0 {
            return Err(MediaError::codec("opening x264", "a group of pictures must not be empty"));
        }
        let file = X264File::create(
            path,
            &X264Settings {
                size: (settings.width, settings.height),
                time_base: time_base(settings.rate),
                rate: settings.rate,
                colour: &ColourTags::BT709,
                crf: settings.crf,
                preset: &settings.preset,
                profile: None,
                parameters: format!("keyint={gop}:min-keyint={gop}:force-cfr=1"),
                gop: Some(gop),
                frame_ticks: 1,
            },
        )?;
        Ok(Self { file })
    }

    /// Encodes the next picture.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when the picture has another size than the settings, or encoding or writing fails.
    pub fn push(&mut self, frame: &YuvFrame) -> Result<()> {
        self.file.push(frame, self.file.pushed as i64, false)
    }

    /// Writes what is left and closes the file.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when encoding or writing fails, or no picture was pushed; the file is removed then.
    pub fn finish(self) -> Result<EncodedSegment> {
        self.file.finish()
    }
}

/// Settings every use of x264 decides about; what makes its bytes reproducible is fixed in [`X264File`].
pub(crate) struct X264Settings<'a> {
    pub size: (u32, u32),
    /// Seconds a tick of the pictures' times.
    pub time_base: av::Rational,
    pub rate: FrameRate,
    pub colour: &'a ColourTags,
    pub crf: u8,
    pub preset: &'a str,
    /// H.264 profile not to go beyond.
    pub profile: Option<&'static str>,
    /// More of x264's own parameters, separated by colons.
    pub parameters: String,
    /// Frames from one key frame to the next, where that does not vary.
    pub gop: Option<u32>,
    /// Ticks a packet lasts; 0 where that varies.
    pub frame_ticks: i64,
}

/// x264 writing into one MP4 file.
pub(crate) struct X264File {
    encoder: encoder::Video,
    output: format::context::Output,
    file: Unfinished,
    picture: frame::Video,
    packet: av::Packet,
    time_base: av::Rational,
    frame_ticks: i64,
    pushed: u64,
    written: u64,
}

impl X264File {
    pub fn create(path: &Path, settings: &X264Settings) -> Result<Self> {
        crate::init();
        let encoder = open(settings)?;
        let file = Unfinished::new(path);
        let mut output = output::create(path, "mp4")?;
        let failed = |error| output::write_failed("starting", path, error);
        let mut stream = output.add_stream_with(&encoder).map_err(failed)?;
        stream.set_time_base(settings.time_base);
        stream.set_avg_frame_rate(rational(settings.rate));
        output.write_header().map_err(failed)?;
        let mut picture = frame::Video::new(format::Pixel::YUV420P, settings.size.0, settings.size.1);
        picture.set_color_range(settings.colour.range);
        Ok(Self {
            encoder,
            output,
            file,
            picture,
            packet: av::Packet::empty(),
            time_base: settings.time_base,
            frame_ticks: settings.frame_ticks,
            pushed: 0,
            written: 0,
        })
    }

    /// Encodes a picture shown at `pts`; `idr` makes it one at which decoding can start.
    pub fn push(&mut self, frame: &YuvFrame, pts: i64, idr: bool) -> Result<()> {
        let (width, height) = (self.picture.width(), self.picture.height());
        if (frame.width, frame.height) != (width, height) {
            return Err(MediaError::codec(
                format!("encoding {}", self.file.path().display()),
                format!("a picture of {}x{} came to an encoder for {width}x{height}", frame.width, frame.height),
            ));
        }
        output::make_writable(&mut self.picture)?;
        for (index, plane) in [&frame.y, &frame.u, &frame.v].into_iter().enumerate() {
            let width = self.picture.plane_width(index) as usize;
            let stride = self.picture.stride(index);
            let rows = self.picture.data_mut(index).chunks_mut(stride).zip(plane.chunks_exact(width));
            rows.for_each(|(to, from)| to[..width].copy_from_slice(from));
        }
        self.picture.set_pts(Some(pts));
        self.picture.set_kind(if idr { picture::Type::I } else { picture::Type::None });
        self.pushed += 1;
        self.encoder.send_frame(&self.picture).map_err(|error| self.failed(error))?;
        self.drain()
    }

    pub fn finish(mut self) -> Result<EncodedSegment> {
        self.encoder.send_eof().map_err(|error| self.failed(error))?;
        self.drain()?;
        if self.written == 0 || self.written != self.pushed {
            return Err(MediaError::codec(
                format!("encoding {}", self.file.path().display()),
                format!("{} pictures went in and {} came out", self.pushed, self.written),
            ));
        }
        self.output.write_trailer().map_err(|error| self.failed(error))?;
        let Self { output, file, written, .. } = self;
        drop(output);
        Ok(EncodedSegment { frames: written, bytes: file.keep()? })
    }

    fn drain(&mut self) -> Result<()> {
        let to = self.output.stream(0).expect("the file has one stream").time_base();
        while self.encoder.receive_packet(&mut self.packet).is_ok() {
            self.packet.set_stream(0);
            self.packet.set_duration(self.frame_ticks);
            self.packet.rescale_ts(self.time_base, to);
            self.packet.write_interleaved(&mut self.output).map_err(|error| self.failed(error))?;
            self.written += 1;
        }
        Ok(())
    }

    fn failed(&self, error: av::Error) -> MediaError {
        output::write_failed("encoding", self.file.path(), error)
    }
}

/// Seconds a frame: the encoder's time base.
pub(crate) fn time_base(rate: FrameRate) -> av::Rational {
    av::Rational::new(rate.den as i32, rate.num as i32)
}

fn rational(rate: FrameRate) -> av::Rational {
    av::Rational::new(rate.num as i32, rate.den as i32)
}

/// The NAL units x264 gives before any picture: parameter sets and its own description.
pub(crate) fn headers(settings: &X264Settings) -> Result<Vec<Vec<u8>>> {
    crate::init();
    Ok(h264::units_of_stream(&output::encoder_headers(&open(settings)?)))
}

fn open(settings: &X264Settings) -> Result<encoder::Video> {
    let (width, height) = settings.size;
    let doing = || format!("opening x264 for {width}x{height}");
    if !width.is_multiple_of(2) || !height.is_multiple_of(2) {
        return Err(MediaError::codec(doing(), "width and height must be even"));
    }
    let codec = encoder::find_by_name("libx264")
        .ok_or_else(|| MediaError::codec(doing(), "this FFmpeg was built without libx264"))?;
    let mut context = codec::Context::new_with_codec(codec);
    context.set_threading(codec::threading::Config { count: 1, ..Default::default() });
    context.set_flags(codec::Flags::GLOBAL_HEADER);
    let mut video = context.encoder().video().map_err(|error| MediaError::codec(doing(), error))?;
    video.set_width(width);
    video.set_height(height);
    video.set_format(format::Pixel::YUV420P);
    video.set_time_base(settings.time_base);
    video.set_frame_rate(Some(rational(settings.rate)));
    video.set_aspect_ratio((1, 1));
    if let Some(gop) = settings.gop {
        video.set_gop(gop);
    }
    settings.colour.apply(&mut video);
    let mut options = av::Dictionary::new();
    options.set("preset", settings.preset);
    options.set("crf", &settings.crf.to_string());
    options.set("forced-idr", "1");
    if let Some(profile) = settings.profile {
        options.set("profile", profile);
    }
    // By default x264's macroblock tree differs between processors; `cpu-independent` turns that off.
    let parameters = format!("cpu-independent=1:scenecut=0:open-gop=0:threads=1:{}", settings.parameters);
    options.set("x264-params", &parameters);
    video.open_as_with(codec, options).map_err(|error| MediaError::codec(doing(), error))
}
