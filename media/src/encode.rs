//! H.264 segments: closed groups of pictures whose bytes depend on nothing but the pictures and the settings.

use std::path::Path;

use edits::FrameRate;
use ffmpeg_next as av;
use ffmpeg_next::{codec, color, encoder, format, frame};

use crate::error::{MediaError, Result};
use crate::output::{self, Unfinished};
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
    settings: VideoSettings,
    encoder: encoder::Video,
    output: format::context::Output,
    file: Unfinished,
    picture: frame::Video,
    packet: av::Packet,
    pushed: i64,
    written: u64,
}

impl SegmentEncoder {
    /// Opens the encoder and creates the file.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when x264 refuses the settings, [`MediaError::Io`] when the file cannot be created.
    pub fn create(path: &Path, settings: &VideoSettings) -> Result<Self> {
        crate::init();
        let encoder = open(settings)?;
        let file = Unfinished::new(path);
        let mut output = output::create(path, "mp4")?;
        let failed = |error| MediaError::codec(format!("starting {}", path.display()), error);
        let mut stream = output.add_stream_with(&encoder).map_err(failed)?;
        stream.set_time_base(time_base(settings.rate));
        stream.set_avg_frame_rate(rational(settings.rate));
        output.write_header().map_err(failed)?;
        let mut picture = frame::Video::new(format::Pixel::YUV420P, settings.width, settings.height);
        picture.set_color_range(color::Range::MPEG);
        Ok(Self {
            settings: settings.clone(),
            encoder,
            output,
            file,
            picture,
            packet: av::Packet::empty(),
            pushed: 0,
            written: 0,
        })
    }

    /// Encodes the next picture.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when the picture has another size than the settings, or encoding or writing fails.
    pub fn push(&mut self, frame: &YuvFrame) -> Result<()> {
        if (frame.width, frame.height) != (self.settings.width, self.settings.height) {
            return Err(MediaError::codec(
                format!("encoding {}", self.file.path().display()),
                format!(
                    "a picture of {}x{} came to an encoder for {}x{}",
                    frame.width, frame.height, self.settings.width, self.settings.height
                ),
            ));
        }
        output::make_writable(&mut self.picture)?;
        for (index, plane) in [&frame.y, &frame.u, &frame.v].into_iter().enumerate() {
            let width = self.picture.plane_width(index) as usize;
            let stride = self.picture.stride(index);
            let rows = self.picture.data_mut(index).chunks_mut(stride).zip(plane.chunks_exact(width));
            rows.for_each(|(to, from)| to[..width].copy_from_slice(from));
        }
        self.picture.set_pts(Some(self.pushed));
        self.pushed += 1;
        self.encoder.send_frame(&self.picture).map_err(|error| self.failed(error))?;
        self.drain()
    }

    /// Writes what is left and closes the file.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when encoding or writing fails, or no picture was pushed; the file is removed then.
    pub fn finish(mut self) -> Result<EncodedSegment> {
        self.encoder.send_eof().map_err(|error| self.failed(error))?;
        self.drain()?;
        if self.written == 0 || self.written != self.pushed as u64 {
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
            self.packet.set_duration(1);
            self.packet.rescale_ts(time_base(self.settings.rate), to);
            self.packet.write_interleaved(&mut self.output).map_err(|error| self.failed(error))?;
            self.written += 1;
        }
        Ok(())
    }

    fn failed(&self, error: av::Error) -> MediaError {
        MediaError::codec(format!("encoding {}", self.file.path().display()), error)
    }
}

/// Seconds a frame: the encoder's time base.
pub(crate) fn time_base(rate: FrameRate) -> av::Rational {
    av::Rational::new(rate.den as i32, rate.num as i32)
}

fn rational(rate: FrameRate) -> av::Rational {
    av::Rational::new(rate.num as i32, rate.den as i32)
}

fn open(settings: &VideoSettings) -> Result<encoder::Video> {
    let doing = || format!("opening x264 for {}x{}", settings.width, settings.height);
    if !settings.width.is_multiple_of(2) || !settings.height.is_multiple_of(2) || settings.gop == 0 {
        return Err(MediaError::codec(doing(), "width and height must be even and the group of pictures not empty"));
    }
    let codec = encoder::find_by_name("libx264")
        .ok_or_else(|| MediaError::codec(doing(), "this FFmpeg was built without libx264"))?;
    let mut context = codec::Context::new_with_codec(codec);
    context.set_threading(codec::threading::Config { count: 1, ..Default::default() });
    context.set_flags(codec::Flags::GLOBAL_HEADER);
    let mut video = context.encoder().video().map_err(|error| MediaError::codec(doing(), error))?;
    video.set_width(settings.width);
    video.set_height(settings.height);
    video.set_format(format::Pixel::YUV420P);
    video.set_time_base(time_base(settings.rate));
    video.set_frame_rate(Some(rational(settings.rate)));
    video.set_aspect_ratio((1, 1));
    video.set_gop(settings.gop);
    video.set_colorspace(color::Space::BT709);
    video.set_color_range(color::Range::MPEG);
    video.set_color_primaries(color::Primaries::BT709);
    video.set_color_transfer_characteristic(color::TransferCharacteristic::BT709);
    output::set_left_chroma(&mut video);
    let mut options = av::Dictionary::new();
    options.set("preset", &settings.preset);
    options.set("crf", &settings.crf.to_string());
    let gop = settings.gop;
    // x264's macroblock tree differs between processors unless it is told not to.
    options.set(
        "x264-params",
        &format!("cpu-independent=1:scenecut=0:open-gop=0:keyint={gop}:min-keyint={gop}:threads=1:force-cfr=1"),
    );
    video.open_as_with(codec, options).map_err(|error| MediaError::codec(doing(), error))
}
