//! What a stream says of itself, and its packets: what libav has no safe accessor for.
#![expect(unsafe_code, reason = "codec parameters and the buffers of packets have no safe accessor")]

use ffmpeg_next as av;
use ffmpeg_next::{ffi, format, packet::Mut, packet::Ref};

/// Pictures wider or higher than this are refused, in pixels.
pub const MAX_SIDE: u32 = 8192;

/// The codec parameters this crate reads from a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameters {
    pub width: u32,
    pub height: u32,
    pub sample_rate: u32,
    pub channels: u32,
    pub video_delay: u32,
}

impl Parameters {
    pub fn of(stream: &format::stream::Stream) -> Self {
        let parameters = stream.parameters();
        // SAFETY: a demuxed stream always has codec parameters, which live as long as the stream borrowed here.
        let raw = unsafe { &*parameters.as_ptr() };
        Self {
            width: raw.width.max(0) as u32,
            height: raw.height.max(0) as u32,
            sample_rate: raw.sample_rate.max(0) as u32,
            channels: raw.ch_layout.nb_channels.max(0) as u32,
            video_delay: raw.video_delay.max(0) as u32,
        }
    }
}

/// A packet with other bytes: its times, flags and side data stay.
pub(crate) fn with_data(packet: &av::Packet, bytes: &[u8]) -> av::Packet {
    let mut changed = av::Packet::copy(bytes);
    // SAFETY: both packets are alive, and the changed one is a fresh one that owns its bytes, which stay. It may lack side data
    // where memory is short.
    unsafe { ffi::av_packet_copy_props(changed.as_mut_ptr(), packet.as_ptr()) };
    changed
}

/// Empties a packet for the next read.
pub(crate) fn unref(packet: &mut av::Packet) {
    // SAFETY: the packet is alive; unreferencing an empty packet is allowed.
    unsafe { ffi::av_packet_unref(packet.as_mut_ptr()) }
}
