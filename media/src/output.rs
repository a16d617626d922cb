//! Writing files that either become whole or do not remain.
#![expect(unsafe_code, reason = "muxer flags and codec tags have no safe accessor")]

use std::path::{Path, PathBuf};

use ffmpeg_next as av;
use ffmpeg_next::{ffi, format};

use crate::error::{MediaError, Result};
use crate::input;

/// A file under construction: removed again unless [`Unfinished::keep`] is called.
pub(crate) struct Unfinished {
    path: PathBuf,
    kept: bool,
}

impl Unfinished {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), kept: false }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file is whole; returns its size in bytes.
    pub fn keep(mut self) -> Result<u64> {
        let bytes =
            std::fs::metadata(&self.path).map_err(|source| MediaError::io("measuring", &self.path, source))?.len();
        self.kept = true;
        Ok(bytes)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.kept {
            // It may never have been created; nothing more can be done about one that cannot be removed.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Creates a file of a named container whose bytes depend on nothing but what is written.
pub(crate) fn create(path: &Path, container: &str) -> Result<format::context::Output> {
    crate::init();
    let mut output = format::output_as(&input::url(path)?, container).map_err(|error| match error {
        av::Error::Other { errno } => MediaError::io("creating", path, std::io::Error::from_raw_os_error(errno)),
        error => MediaError::codec(format!("creating {}", path.display()), error),
    })?;
    // SAFETY: the context is open and no header is written yet; the flag is a plain field.
    unsafe { (*output.as_mut_ptr()).flags |= ffi::AVFMT_FLAG_BITEXACT };
    Ok(output)
}

/// Writes the header of an MP4 file that can be played while it loads. The clock of edit lists and total lengths is
/// that of stream 0, the pictures: the muxer's usual milliseconds would round their start.
pub(crate) fn start(output: &mut format::context::Output, path: &Path) -> Result<()> {
    let base = output.stream(0).map_or(av::Rational::new(1, 1000), |stream| stream.time_base());
    // The muxer doubles a coarse clock until it has this many ticks a second.
    let mut ticks = base.denominator();
    while ticks < 10_000 {
        ticks *= 2;
    }
    let mut options = av::Dictionary::new();
    options.set("movflags", "+faststart");
    options.set("movie_timescale", &ticks.to_string());
    output.write_header_with(options).map(drop).map_err(|error| write_failed("starting", path, error))
}

/// Why a file could not be written: the disk's error where there is one, since a full disk is no fault of a codec.
pub(crate) fn write_failed(doing: &'static str, path: &Path, error: av::Error) -> MediaError {
    use std::io::ErrorKind::{
        FileTooLarge, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    if let av::Error::Other { errno } = error {
        let source = std::io::Error::from_raw_os_error(errno);
        let kind = source.kind();
        if [StorageFull, QuotaExceeded, FileTooLarge, ReadOnlyFilesystem, NotFound, PermissionDenied].contains(&kind) {
            return MediaError::io(doing, path, source);
        }
    }
    MediaError::codec(format!("{doing} {}", path.display()), error)
}

/// Adds a stream that carries packets of another one unchanged.
pub(crate) fn add_copy(output: &mut format::context::Output, stream: &format::stream::Stream) -> Result<usize> {
    let mut added = output
        .add_stream(av::encoder::find(av::codec::Id::None))
        .map_err(|error| MediaError::codec("adding a stream to copy into", error))?;
    added.set_parameters(stream.parameters());
    added.set_time_base(stream.time_base());
    // A tag of another container must not be carried over. Apple's players refuse HEVC by the muxer's own choice, `hev1`,
    // which may have parameter sets among the pictures as well.
    let tag = if stream.parameters().id() == av::codec::Id::HEVC { u32::from_le_bytes(*b"hvc1") } else { 0 };
    // SAFETY: the stream was just added.
    unsafe { (*(*added.as_mut_ptr()).codecpar).codec_tag = tag };
    Ok(added.index())
}

/// The out-of-band headers of a stream: H.264's parameter sets, AAC's configuration.
pub(crate) fn extradata(stream: &format::stream::Stream) -> Vec<u8> {
    let parameters = stream.parameters();
    // SAFETY: libav keeps `extradata_size` bytes at `extradata`, or a null pointer.
    unsafe {
        let raw = &*parameters.as_ptr();
        copied(raw.extradata, raw.extradata_size)
    }
}

/// The out-of-band headers an opened encoder gives.
pub(crate) fn encoder_headers(encoder: &av::encoder::Video) -> Vec<u8> {
    // SAFETY: as above; the context is alive.
    unsafe {
        let raw = &*encoder.as_ptr();
        copied(raw.extradata, raw.extradata_size)
    }
}

/// SAFETY: `data` must be null or point to `size` bytes.
unsafe fn copied(data: *const u8, size: i32) -> Vec<u8> {
    if data.is_null() || size <= 0 {
        return Vec::new();
    }
    // SAFETY: the caller promises it.
    unsafe { std::slice::from_raw_parts(data, size as usize) }.to_vec()
}

/// Replaces the out-of-band headers of a stream that is to be written.
pub(crate) fn set_extradata(stream: &mut format::stream::StreamMut, bytes: &[u8]) -> Result<()> {
    // SAFETY: the parameters belong to the stream; libav frees what is put there with its own allocator, and requires
    // zeros behind it.
    unsafe {
        let raw = &mut *(*stream.as_mut_ptr()).codecpar;
        let fresh = ffi::av_mallocz(bytes.len() + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize).cast::<u8>();
        if fresh.is_null() {
            return Err(MediaError::codec("setting parameter sets", av::Error::from(ffi::AVERROR(ffi::ENOMEM))));
        }
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), fresh, bytes.len());
        ffi::av_free(raw.extradata.cast());
        raw.extradata = fresh;
        raw.extradata_size = bytes.len() as i32;
    }
    Ok(())
}

/// Whether the MP4 muxer supports a codec.
pub(crate) fn fits_mp4(codec: av::codec::Id) -> bool {
    crate::init();
    // SAFETY: the name is a C string; the muxer is a constant of the library, or null.
    unsafe {
        let muxer = ffi::av_guess_format(c"mp4".as_ptr(), std::ptr::null(), std::ptr::null());
        ffi::avformat_query_codec(muxer, codec.into(), ffi::FF_COMPLIANCE_NORMAL) == 1
    }
}

/// Sets where an encoder's chroma samples sit.
pub(crate) fn set_chroma_location(encoder: &mut av::encoder::video::Video, location: av::util::chroma::Location) {
    // SAFETY: the context is alive and not opened yet; the field is a plain enum.
    unsafe { (*encoder.as_mut_ptr()).chroma_sample_location = location.into() };
}

/// Copies a frame's buffers if they are shared, so that they can be overwritten.
pub(crate) fn make_writable(frame: &mut av::frame::Video) -> Result<()> {
    // SAFETY: the frame is alive and owns its buffers.
    match unsafe { ffi::av_frame_make_writable(frame.as_mut_ptr()) } {
        code if code < 0 => Err(MediaError::codec("preparing a picture", av::Error::from(code))),
        _ => Ok(()),
    }
}
