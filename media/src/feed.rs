//! What a video decoder is given.

use ffmpeg_next as av;
use ffmpeg_next::{codec, format};

use crate::claims::Holds;
use crate::limits::PacketGuard;
use crate::stream;

/// Bytes of parameter sets that are kept for the next picture.
const MOST_SETS: usize = 64 << 10;

/// Gives packets to a decoder: none that would take memory out of proportion, and none without a picture, which libav reports
/// as damage. Parameter sets of such packets go with the next picture.
pub(crate) struct Feeder {
    guard: PacketGuard,
    sets: Vec<u8>,
}

impl Feeder {
    pub fn of(stream: &format::stream::Stream) -> Self {
        Self { guard: PacketGuard::of(stream), sets: Vec::new() }
    }

    /// Forgets what was kept for the next picture.
    pub fn flush(&mut self) {
        self.sets.clear();
    }

    /// Gives the decoder a packet. False: it was refused, so its frame will be missing.
    pub fn send(&mut self, decoder: &mut codec::decoder::Video, packet: &av::Packet) -> bool {
        if self.guard.is_flood(packet) {
            return false;
        }
        match self.guard.holds(packet) {
            Holds::Picture if self.sets.is_empty() => decoder.send_packet(packet).is_ok(),
            Holds::Picture => {
                let bytes = [&std::mem::take(&mut self.sets), packet.data().unwrap_or_default()].concat();
                let whole = stream::with_data(packet, &bytes);
                !self.guard.is_flood(&whole) && decoder.send_packet(&whole).is_ok()
            }
            // It comes with new set-up data, of another part of the file.
            _ if packet.side_data().next().is_some() => decoder.send_packet(packet).is_ok(),
            Holds::ParameterSets if self.sets.len() + packet.size() <= MOST_SETS => {
                self.sets.extend_from_slice(packet.data().unwrap_or_default());
                true
            }
            Holds::ParameterSets => false,
            Holds::Nothing => true,
        }
    }
}
