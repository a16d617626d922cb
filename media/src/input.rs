//! Opening files: which containers are read, which stream is the picture, and the few accessors that the safe
//! binding lacks.
#![expect(
    unsafe_code,
    reason = "opening in two steps, stream-exact seeking, packet discard flags and codec parameters have no safe \
              accessor"
)]

use std::path::Path;

use edits::FrameRate;
use ffmpeg_next as av;
use ffmpeg_next::{codec, ffi, format, media, packet::Ref};

use crate::claims;
use crate::error::{MediaError, Result};
use crate::formats;
use crate::limits;
use crate::log::{self, Complainer};
use crate::stream::{MAX_SIDE, Parameters, unref};

/// Errors of the machine, not of the file's content: no file, no permission, no descriptors. Out of memory is not among
/// them: libav reports it for any absurd length.
const MACHINE_ERRORS: [i32; 4] = [av::error::ENOENT, av::error::EACCES, av::error::EMFILE, av::error::ENFILE];

/// Whether work is to end early: asked before every packet.
pub type Stop<'a> = dyn Fn() -> bool + 'a;

/// # Errors
/// [`MediaError::Cancelled`] when it is.
pub(crate) fn check_stop(stop: &Stop) -> Result<()> {
    if stop() { Err(MediaError::Cancelled) } else { Ok(()) }
}

/// It is not.
pub(crate) fn never() -> bool {
    false
}

/// Bytes from which the streams of a file are identified, and microseconds of them: libav's own defaults, stated here
/// because time and memory for the answer to an upload depend on them.
const PROBE_BYTES: &str = "5000000";
const PROBE_MICROSECONDS: &str = "0";

/// Streams that libav makes of one file at most: tracks, and as many cover pictures and attached fonts.
const MAX_STREAMS: u64 = 2 * claims::MAX_TRACKS;

/// [`open`] for a file that may be of a stranger and was not opened before: what its headers claim is checked first,
/// and that its first packets can be parsed.
///
/// # Errors
/// As [`open`]; [`MediaError::Refused`] with the code `unreadable` when the headers claim what the file cannot hold.
pub(crate) fn open_unknown(path: &Path) -> Result<format::context::Input> {
    crate::init();
    if let Some(container) = identify(path).as_deref().and_then(claims::Container::of) {
        claims::check_file(path, container)?;
    }
    // What cannot be opened is refused below, with its reason.
    if let Ok(mut source) = read_header(&url(path)?, options()) {
        limits::check_first_packets(&mut source)?;
    }
    open(path)
}

/// libav's name of the demuxer that it would choose for a file; `None` where it has none or the file cannot be read.
fn identify(path: &Path) -> Option<String> {
    let url = std::ffi::CString::new(url(path).ok()?).ok()?;
    // SAFETY: the URL is NUL-terminated; the context and the demuxer are written before they are read, and the context
    // is closed. The demuxer's name is a static text.
    unsafe {
        let (mut context, mut found) = (std::ptr::null_mut(), std::ptr::null());
        if ffi::avio_open(&mut context, url.as_ptr(), ffi::AVIO_FLAG_READ) < 0 {
            return None;
        }
        let score = ffi::av_probe_input_buffer2(context, &mut found, url.as_ptr(), std::ptr::null_mut(), 0, 0);
        ffi::avio_closep(&mut context);
        let known = score >= 0 && !found.is_null();
        known.then(|| std::ffi::CStr::from_ptr((*found).name).to_string_lossy().into_owned())
    }
}

/// What libav may read, and how much of it to identify the streams.
fn options() -> av::Dictionary<'static> {
    let mut options = av::Dictionary::new();
    options.set("format_whitelist", &formats::CONTAINERS.join(","));
    options.set("protocol_whitelist", "file");
    options.set("codec_whitelist", &formats::decoders());
    options.set("probesize", PROBE_BYTES);
    options.set("analyzeduration", PROBE_MICROSECONDS);
    options.set("max_streams", &MAX_STREAMS.to_string());
    options
}

/// Opens a file for demuxing, with its streams identified.
pub(crate) fn open(path: &Path) -> Result<format::context::Input> {
    crate::init();
    let size = std::fs::metadata(path).map_err(|source| MediaError::io("reading", path, source))?.len();
    if size == 0 {
        return Err(MediaError::refused("empty_file", "the file has zero bytes"));
    }
    let refused = |error: av::Error| match error {
        // An error of the machine is not the file's.
        av::Error::Other { errno } if MACHINE_ERRORS.contains(&errno) || disk_fails(errno, path) => {
            MediaError::io("opening", path, std::io::Error::from_raw_os_error(errno))
        }
        error => MediaError::refused("not_a_video", format!("the file is not a video that can be read: {error}")),
    };
    let mut input = read_header(&url(path)?, options()).map_err(refused)?;
    // Before anything is decoded: a decoder reserves memory for what a header claims.
    for stream in input.streams().filter(|stream| stream.parameters().medium() == media::Type::Video) {
        check_size(&stream)?;
    }
    limits::check_set_up_data(&input)?;
    find_streams(&mut input).map_err(refused)?;
    Ok(input)
}

/// Whether an input/output error is the disk's. Matroska's demuxer reports the same for a file that ends too early.
fn disk_fails(errno: i32, path: &Path) -> bool {
    let read = || std::io::copy(&mut std::fs::File::open(path)?, &mut std::io::sink());
    errno == av::error::EIO && read().is_err()
}

/// Opens a file and reads its container's header.
fn read_header(url: &str, options: av::Dictionary) -> Result<format::context::Input, av::Error> {
    let url = std::ffi::CString::new(url).map_err(|_| av::Error::InvalidData)?;
    let mut context = std::ptr::null_mut();
    // SAFETY: the URL is NUL-terminated; libav takes the options and leaves those it did not use, which are freed.
    // On success the context is a new one that has no other owner.
    unsafe {
        let mut options = options.disown();
        let code = ffi::avformat_open_input(&mut context, url.as_ptr(), std::ptr::null_mut(), &mut options);
        drop(av::Dictionary::own(options));
        if code < 0 { Err(av::Error::from(code)) } else { Ok(format::context::Input::wrap(context)) }
    }
}

/// Reads on until the streams are identified.
fn find_streams(input: &mut format::context::Input) -> Result<(), av::Error> {
    let mut options = limits::StreamOptions::of(input);
    // SAFETY: plain call on an open input, with as many dictionaries as it has streams.
    let code = unsafe { ffi::avformat_find_stream_info(input.as_mut_ptr(), options.as_mut_ptr()) };
    if code < 0 { Err(av::Error::from(code)) } else { Ok(()) }
}

/// Refuses absurd sizes before a decoder reserves memory for them.
pub(crate) fn check_size(stream: &format::stream::Stream) -> Result<()> {
    let Parameters { width, height, .. } = Parameters::of(stream);
    if width.max(height) > MAX_SIDE {
        return Err(MediaError::refused(
            "too_large",
            format!("the picture is {width}x{height} pixels; {MAX_SIDE} a side is the most"),
        ));
    }
    Ok(())
}

/// The file as a libav URL: with its protocol named, no character of a path has a meaning.
pub(crate) fn url(path: &Path) -> Result<String> {
    match path.to_str() {
        Some(text) if !text.contains('\0') => Ok(format!("file:{text}")),
        _ => Err(MediaError::io(
            "opening",
            path,
            std::io::Error::new(std::io::ErrorKind::InvalidInput, "the path is not UTF-8 text"),
        )),
    }
}

/// Codecs of single pictures. Cameras make films of them, too, but not beside another film.
const STILLS: [codec::Id; 6] =
    [codec::Id::MJPEG, codec::Id::PNG, codec::Id::BMP, codec::Id::TIFF, codec::Id::GIF, codec::Id::WEBP];

/// Index of the picture stream. A cover picture is none, and neither is a still beside a film.
pub(crate) fn video_stream(input: &format::context::Input) -> Result<usize> {
    let is_video = |stream: &format::stream::Stream| stream.parameters().medium() == media::Type::Video;
    let is_cover =
        |stream: &format::stream::Stream| stream.disposition().contains(format::stream::Disposition::ATTACHED_PIC);
    let mut films: Vec<_> = input.streams().filter(|stream| is_video(stream) && !is_cover(stream)).collect();
    for is_still in [
        |stream: &format::stream::Stream| stream.frames() == 1,
        |stream: &format::stream::Stream| STILLS.contains(&stream.parameters().id()),
    ] {
        if films.iter().any(|stream| !is_still(stream)) {
            films.retain(|stream| !is_still(stream));
        }
    }
    let best = best_stream(input, media::Type::Video, None);
    let found = films.iter().find(|stream| Some(stream.index()) == best).or(films.first());
    found.map(format::stream::Stream::index).ok_or_else(|| {
        let why = if input.streams().any(|s| is_video(&s)) {
            "the only picture in the file is its cover; there is no video stream"
        } else {
            "the file has no video stream"
        };
        MediaError::refused("no_video_stream", why)
    })
}

/// The stream of a type that libav finds best: the one marked as default, the longest; where the file has several
/// programmes, of that of the stream `beside`.
fn best_stream(input: &format::context::Input, medium: media::Type, beside: Option<usize>) -> Option<usize> {
    let beside = beside.map_or(-1, |index| index as i32);
    // SAFETY: plain call on an open input, which it does not change; it takes no decoder.
    let found = unsafe {
        ffi::av_find_best_stream(input.as_ptr().cast_mut(), medium.into(), -1, beside, std::ptr::null_mut(), 0)
    };
    usize::try_from(found).ok()
}

/// Index of the sound stream that belongs to the picture, of those that can be decoded.
pub(crate) fn audio_stream(input: &format::context::Input) -> Option<usize> {
    let usable = |stream: &format::stream::Stream| {
        Parameters::of(stream).sample_rate > 0 && decoder(stream, 1).is_ok_and(|decoder| decoder.audio().is_ok())
    };
    let best = best_stream(input, media::Type::Audio, video_stream(input).ok());
    best.and_then(|index| input.stream(index))
        .filter(usable)
        .or_else(|| input.streams().find(|s| s.parameters().medium() == media::Type::Audio && usable(s)))
        .map(|stream| stream.index())
}

/// Whether a stream is one of sound.
pub(crate) fn is_sound(input: &format::context::Input, index: usize) -> bool {
    input.stream(index).is_some_and(|stream| stream.parameters().medium() == media::Type::Audio)
}

/// Whether a stream is of sound that can be decoded.
pub(crate) fn has_sound_decoder(input: &format::context::Input, index: usize) -> bool {
    input.stream(index).is_some_and(|stream| decoder(&stream, 1).is_ok_and(|decoder| decoder.audio().is_ok()))
}

/// Whether a file has sound, but none that can be decoded.
pub(crate) fn has_broken_sound(input: &format::context::Input) -> bool {
    input.streams().best(media::Type::Audio).is_some() && audio_stream(input).is_none()
}

/// Sample aspect ratio of a stream as the container or the codec gives it; 1:1 where unknown or absurd.
pub(crate) fn sample_aspect_ratio(input: &mut format::context::Input, index: usize) -> (u32, u32) {
    // SAFETY: the index comes from this input; a null frame selects the stream's own ratio.
    let ratio = unsafe {
        let context = input.as_mut_ptr();
        let stream = *(*context).streams.add(index);
        ffi::av_guess_sample_aspect_ratio(context, stream, std::ptr::null_mut())
    };
    let sane = ratio.num > 0 && ratio.den > 0 && ratio.num / 16 <= ratio.den && ratio.den / 16 <= ratio.num;
    if sane { (ratio.num as u32, ratio.den as u32) } else { (1, 1) }
}

/// The frame rate of a stream: libav's guess from container and codec, or 25 where it has none.
pub(crate) fn frame_rate(input: &mut format::context::Input, index: usize) -> FrameRate {
    usual_rate(guessed_frame_rate(input, index))
}

/// A rate as the planner's type. Rates within 0.04 % of a usual rate are that rate: containers with coarse
/// time stamps (Matroska's milliseconds) give averages such as 29.969.
fn usual_rate(rate: av::Rational) -> FrameRate {
    const USUAL: [(u32, u32); 12] = [
        (24_000, 1001),
        (24, 1),
        (25, 1),
        (30_000, 1001),
        (30, 1),
        (48, 1),
        (50, 1),
        (60_000, 1001),
        (60, 1),
        (100, 1),
        (120_000, 1001),
        (120, 1),
    ];
    let (num, den) = (rate.numerator(), rate.denominator());
    let value = f64::from(num) / f64::from(den.max(1));
    if num <= 0 || den <= 0 || !(0.01..=1000.0).contains(&value) {
        return FrameRate { num: 25, den: 1 };
    }
    let distance = |&(n, d): &(u32, u32)| (f64::from(n) / f64::from(d) / value - 1.0).abs();
    let nearest =
        USUAL.iter().copied().min_by(|a, b| distance(a).total_cmp(&distance(b))).expect("the list is not empty");
    if distance(&nearest) < 4e-4 {
        FrameRate { num: nearest.0, den: nearest.1 }
    } else {
        let reduced = rate.reduce();
        FrameRate { num: reduced.numerator() as u32, den: reduced.denominator() as u32 }
    }
}

/// The frame rate libav guesses from container and codec together; 0/0 where it has none.
fn guessed_frame_rate(input: &mut format::context::Input, index: usize) -> av::Rational {
    // SAFETY: as above.
    unsafe {
        let context = input.as_mut_ptr();
        let stream = *(*context).streams.add(index);
        ffi::av_guess_frame_rate(context, stream, std::ptr::null_mut()).into()
    }
}

/// Seeks so that reading goes on at or before `timestamp`, in the time base of stream `index`.
pub(crate) fn seek(input: &mut format::context::Input, index: usize, timestamp: i64) -> Result<(), av::Error> {
    // SAFETY: plain call on an open input; the index comes from it.
    let code = unsafe { ffi::av_seek_frame(input.as_mut_ptr(), index as i32, timestamp, ffi::AVSEEK_FLAG_BACKWARD) };
    if code < 0 { Err(av::Error::from(code)) } else { Ok(()) }
}

/// Seeks so that reading goes on with the packet that lies at `position`, in bytes.
pub(crate) fn seek_to_byte(input: &mut format::context::Input, position: i64) -> Result<(), av::Error> {
    // SAFETY: plain call on an open input.
    let code = unsafe { ffi::av_seek_frame(input.as_mut_ptr(), -1, position, ffi::AVSEEK_FLAG_BYTE) };
    if code < 0 { Err(av::Error::from(code)) } else { Ok(()) }
}

/// Bits of a stream's time stamps, after which they start at 0 again.
pub(crate) fn wrap_bits(stream: &format::stream::Stream) -> u32 {
    // SAFETY: the stream belongs to an open input; the number is a plain field.
    unsafe { (*stream.as_ptr()).pts_wrap_bits.clamp(1, 64) as u32 }
}

/// Whether an edit list hides this packet's frame: it is decoded as a reference of others and never shown.
pub(crate) fn is_discarded(packet: &av::Packet) -> bool {
    // SAFETY: the packet is alive; the flag is a plain field.
    unsafe { (*packet.as_ptr()).flags & ffi::AV_PKT_FLAG_DISCARD != 0 }
}

/// Reads the next packet of one stream; false at the end. Read errors that libav can step over are stepped over; they
/// and the demuxer's error messages are counted in `damaged`.
pub(crate) fn read(
    input: &mut format::context::Input,
    stream: usize,
    packet: &mut av::Packet,
    damaged: &mut u64,
) -> bool {
    read_unless(input, stream, packet, damaged, &never)
}

/// [`read`] that also ends, with false, once `stop` says so, which is asked before every packet of any stream.
pub(crate) fn read_unless(
    input: &mut format::context::Input,
    stream: usize,
    packet: &mut av::Packet,
    damaged: &mut u64,
    stop: &Stop,
) -> bool {
    loop {
        if !read_any(input, packet, damaged, stop) {
            return false;
        }
        if packet.stream() == stream {
            return true;
        }
    }
}

/// [`read_unless`] for the packets of every stream.
pub(crate) fn read_any(
    input: &mut format::context::Input,
    packet: &mut av::Packet,
    damaged: &mut u64,
    stop: &Stop,
) -> bool {
    let mut errors_in_a_row = 0;
    loop {
        if stop() {
            return false;
        }
        unref(packet);
        let complaints = log::complaints(Complainer::Demuxer);
        let read = packet.read(input);
        *damaged += u64::from(log::complaints(Complainer::Demuxer) > complaints);
        match read {
            Ok(()) => return true,
            Err(av::Error::Eof) => return false,
            Err(_) if errors_in_a_row < 64 => {
                errors_in_a_row += 1;
                *damaged += 1;
            }
            Err(_) => return false,
        }
    }
}

/// The display times of a stream's packets, in decoding order; `None` when one has none or the file is damaged. Reads
/// to the end.
pub(crate) fn display_times(input: &mut format::context::Input, stream: usize) -> Option<Vec<i64>> {
    let (mut packet, mut damaged) = (av::Packet::empty(), 0);
    let mut times = Vec::new();
    while read(input, stream, &mut packet, &mut damaged) {
        times.push(packet.pts()?);
    }
    (damaged == 0).then_some(times)
}

/// Opens the decoder of a stream with a number of frame threads.
///
/// # Errors
/// [`MediaError::Refused`] with the code `unsupported_codec` for a codec that is not among [`formats`].
pub(crate) fn decoder(stream: &format::stream::Stream, threads: usize) -> Result<codec::decoder::Decoder> {
    let id = stream.parameters().id();
    let found = codec::decoder::find(id);
    formats::check_decoder(found.as_ref().map(|codec| codec.name()), id.name())?;
    any_decoder(stream, threads)
}

/// [`decoder`] without regard to the codec: for pictures of the machine's own.
pub(crate) fn any_decoder(stream: &format::stream::Stream, threads: usize) -> Result<codec::decoder::Decoder> {
    let mut context = codec::Context::from_parameters(stream.parameters())
        .map_err(|error| MediaError::codec("setting up the decoder", error))?;
    context.set_threading(codec::threading::Config {
        kind: codec::threading::Type::Frame,
        count: threads.max(1),
        ..Default::default()
    });
    // SAFETY: the context is alive and not open yet; the limit is a plain field.
    unsafe { (*context.as_mut_ptr()).max_pixels = limits::max_pixels(stream) };
    let mut decoder = context.decoder();
    decoder.set_packet_time_base(stream.time_base());
    Ok(decoder)
}

/// Whether a stream's header marks its frames as interlaced.
pub(crate) fn is_interlaced(stream: &format::stream::Stream) -> bool {
    let parameters = stream.parameters();
    // SAFETY: as in `Parameters::of`.
    let order = unsafe { (*parameters.as_ptr()).field_order };
    !matches!(order, ffi::AVFieldOrder::AV_FIELD_UNKNOWN | ffi::AVFieldOrder::AV_FIELD_PROGRESSIVE)
}

/// Whether an interlaced picture of the stream's codec is a single field: HEVC codes each as a picture of its own.
pub(crate) fn stores_fields(stream: &format::stream::Stream) -> bool {
    stream.parameters().id() == codec::Id::HEVC
}
