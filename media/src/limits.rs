//! Bounds on what libav's decoders reserve for a stream: the size of its pictures, the units of its packets, and its
//! set-up data. They hold before the first decode and in libav's own decoders that identify streams.
#![expect(unsafe_code, reason = "per-stream options and codec parameters have no safe accessor")]

use ffmpeg_next as av;
use ffmpeg_next::{codec, ffi, format};

use crate::claims::{self, Holds, NalCounter, NalUnits, begins_h264_picture, begins_hevc_picture};
use crate::error::{MediaError, Result};
use crate::stream::{self, MAX_SIDE, Parameters};

/// Pixels of a picture of [`MAX_SIDE`] a side.
const MOST_PIXELS: i64 = MAX_SIDE as i64 * MAX_SIDE as i64;

/// Pixels up to which a stream's pictures may always grow: 4096x2304, whatever the header says.
const ALWAYS_ALLOWED: i64 = 4096 * 2304;

/// By how much a stream's pictures may outgrow what its header says.
const GROWTH: i64 = 4;

/// Pixels of a cover picture; a larger one is not decoded, which nothing depends on.
const COVER_PIXELS: i64 = 4096 * 4096;

/// Pixels that the pictures of all streams together may have while libav identifies them.
const PROBED_PIXELS: i64 = 2 * MOST_PIXELS;

/// Bytes of a packet, and of all packets, that are read ahead to see whether they can be parsed.
const READ_AHEAD: usize = 8 << 20;

/// Packets that are read ahead at most.
const PACKETS_AHEAD: usize = 4096;

/// Bytes of a packet of a codec that compresses over time. A picture of [`MAX_SIDE`] a side at one byte a pixel.
const MAX_PACKET: usize = 64 << 20;

/// Pixels of the pictures that a stream's decoder may make. They may grow in mid-stream, but not without bound.
pub(crate) fn max_pixels(stream: &format::stream::Stream) -> i64 {
    let parameters = Parameters::of(stream);
    grown(i64::from(parameters.width) * i64::from(parameters.height))
}

/// How many pixels a stream's pictures may have when its header says `declared`; 0 where it says nothing.
fn grown(declared: i64) -> i64 {
    match declared {
        0 => MOST_PIXELS,
        known => known.saturating_mul(GROWTH).clamp(ALWAYS_ALLOWED, MOST_PIXELS),
    }
}

/// Options for libav's own decoders, a dictionary for each stream.
pub(crate) struct StreamOptions(Vec<*mut ffi::AVDictionary>);

impl StreamOptions {
    pub fn of(input: &format::context::Input) -> Self {
        let pictures = input.streams().filter(|s| s.parameters().medium() == av::media::Type::Video).count() as i64;
        let share = (PROBED_PIXELS / pictures.max(1)).clamp(ALWAYS_ALLOWED, MOST_PIXELS);
        let options = input.streams().map(|stream| {
            let is_cover = stream.disposition().contains(format::stream::Disposition::ATTACHED_PIC);
            let most = if is_cover { COVER_PIXELS } else { max_pixels(&stream).min(share) };
            let mut options = av::Dictionary::new();
            options.set("max_pixels", &most.to_string());
            // SAFETY: the dictionary is owned by this object from here on, and freed with it.
            unsafe { options.disown() }
        });
        Self(options.collect())
    }

    /// Null where there are no streams yet.
    pub fn as_mut_ptr(&mut self) -> *mut *mut ffi::AVDictionary {
        if self.0.is_empty() { std::ptr::null_mut() } else { self.0.as_mut_ptr() }
    }
}

impl Drop for StreamOptions {
    fn drop(&mut self) {
        for options in &self.0 {
            // SAFETY: each dictionary was disowned above; libav may have replaced it by another of the same owner.
            drop(unsafe { av::Dictionary::own(*options) });
        }
    }
}

/// Which packets of a stream may be given to its decoder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PacketGuard {
    /// How packets are divided, and whether the codec is HEVC; `None` for codecs without units.
    units: Option<(NalUnits, bool)>,
    most_bytes: usize,
}

impl PacketGuard {
    pub fn of(stream: &format::stream::Stream) -> Self {
        let id = stream.parameters().id();
        let units = is_hevc(id).map(|is_hevc| (NalUnits::of(set_up_data(stream), is_hevc), is_hevc));
        let lossless = [codec::Id::RAWVIDEO, codec::Id::FFV1, codec::Id::HUFFYUV, codec::Id::FFVHUFF, codec::Id::QTRLE];
        let most_bytes = if lossless.contains(&id) { usize::MAX } else { MAX_PACKET };
        Self { units, most_bytes }
    }

    /// Whether a packet has so many units or bytes that decoding it would take memory out of proportion.
    pub fn is_flood(&self, packet: &av::Packet) -> bool {
        let bytes = packet.data().unwrap_or_default();
        bytes.len() > self.most_bytes || self.units.is_some_and(|(units, _)| units.is_flood(bytes))
    }

    /// What a packet holds. In AVI an empty one stands for a frame that is held.
    pub fn holds(&self, packet: &av::Packet) -> Holds {
        match (packet.data().unwrap_or_default(), self.units) {
            ([], _) => Holds::Nothing,
            (bytes, Some((units, is_hevc))) => units.holds(bytes, is_hevc),
            (_, None) => Holds::Picture,
        }
    }
}

/// Whether a codec of NAL units is HEVC, or H.264; `None` for other codecs.
fn is_hevc(id: codec::Id) -> Option<bool> {
    match id {
        codec::Id::H264 => Some(false),
        codec::Id::HEVC => Some(true),
        _ => None,
    }
}

fn set_up_data<'a>(stream: &'a format::stream::Stream) -> &'a [u8] {
    let parameters = stream.parameters();
    // SAFETY: a demuxed stream has codec parameters, which live as long as the stream; their set-up data has the length
    // that stands beside it and does not change while the input is borrowed.
    unsafe {
        let raw = &*parameters.as_ptr();
        match (raw.extradata.is_null(), usize::try_from(raw.extradata_size)) {
            (false, Ok(size)) => std::slice::from_raw_parts(raw.extradata, size),
            _ => &[],
        }
    }
}

/// Refuses set-up data that is absurdly long or consists of very many units.
pub(crate) fn check_set_up_data(input: &format::context::Input) -> Result<()> {
    for stream in input.streams() {
        let data = set_up_data(&stream);
        // Fonts and the like are stored as such data, and no decoder reads them.
        let attachment = stream.parameters().medium() == av::media::Type::Attachment;
        let units = is_hevc(stream.parameters().id()).is_some() && NalUnits::StartCodes.is_flood(data);
        if units || data.len() as u64 > claims::MAX_EXTRADATA && !attachment {
            return Err(MediaError::refused(
                "unreadable",
                format!("the codec description of track {} has {} bytes", stream.index(), data.len()),
            ));
        }
    }
    Ok(())
}

/// Reads the first packets of a file as they are stored, and refuses those that libav's parsers must not see.
pub(crate) fn check_first_packets(source: &mut format::context::Input) -> Result<()> {
    let is_concerned = |stream: &format::stream::Stream| is_hevc(stream.parameters().id()).is_some();
    // A stream that is announced only by its packets is of an unknown codec here.
    if !source.streams().any(|stream| is_concerned(&stream)) {
        return Ok(());
    }
    // SAFETY: the input is open; the flags are a plain field, read with each packet.
    unsafe { (*source.as_mut_ptr()).flags |= ffi::AVFMT_FLAG_NOPARSE | ffi::AVFMT_FLAG_NOFILLIN };
    let mut counters: Vec<NalCounter> = Vec::new();
    let (mut packet, mut bytes) = (av::Packet::empty(), 0);
    for _ in 0..PACKETS_AHEAD {
        stream::unref(&mut packet);
        // Damage and the end are found again, and reported, by whatever reads the file next.
        if bytes > READ_AHEAD || packet.read(source).is_err() {
            break;
        }
        let data = packet.data().unwrap_or_default();
        bytes += data.len();
        let Some(stream) = source.stream(packet.stream()) else { continue };
        let Some(is_hevc) = is_hevc(stream.parameters().id()) else { continue };
        let begins = if is_hevc { begins_hevc_picture } else { begins_h264_picture };
        counters.resize_with(counters.len().max(packet.stream() + 1), NalCounter::default);
        let flood = match NalUnits::of(set_up_data(&stream), is_hevc) {
            NalUnits::StartCodes => counters[packet.stream()].goes_on(data, begins),
            lengths => lengths.is_flood(data),
        };
        if flood || data.len() > MAX_PACKET {
            return Err(MediaError::refused(
                "unreadable",
                format!("a packet of {} bytes at the start consists of thousands of units", data.len()),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_may_grow_but_not_without_bound() {
        assert_eq!(grown(64 * 36), ALWAYS_ALLOWED);
        assert_eq!(grown(1920 * 1080), ALWAYS_ALLOWED);
        assert_eq!(grown(3840 * 2160), 4 * 3840 * 2160);
        assert_eq!(grown(8192 * 8192), MOST_PIXELS);
        assert_eq!(grown(0), MOST_PIXELS);
    }
}
