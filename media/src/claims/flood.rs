//! Packets of H.264 and HEVC that consist of very many tiny units.
//!
//! libav's parsers and decoders keep a record and a buffer of 4 KiB for every unit of a packet (`h2645_parse.c`), so a
//! packet of 36 MB of empty units takes 20 GB of memory. Pictures have at most some hundred units.

/// Units of one packet, or of a stream since its last picture began.
pub(crate) const MAX_UNITS: u64 = 4096;

/// How a stream's packets are divided into units (NAL units).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NalUnits {
    /// Behind start codes (Annex B).
    StartCodes,
    /// Behind lengths of so many bytes, as in MP4 and Matroska.
    Lengths(usize),
}

impl NalUnits {
    /// As the codec's set-up data of H.264 (`avcC`) or HEVC (`hvcC`) states it.
    pub fn of(extradata: &[u8], is_hevc: bool) -> Self {
        let place = if is_hevc { 21 } else { 4 };
        match extradata.get(place) {
            // Both begin with a version; start codes begin with zeros.
            Some(sizes) if extradata[0] != 0 => Self::Lengths(usize::from(sizes & 3) + 1),
            _ => Self::StartCodes,
        }
    }

    /// Whether a packet has so many units that it must not be parsed.
    pub fn is_flood(self, packet: &[u8]) -> bool {
        if packet.len() as u64 <= MAX_UNITS {
            return false;
        }
        let mut counter = NalCounter::default();
        match self {
            Self::StartCodes => counter.start_codes(packet),
            Self::Lengths(bytes) => counter.lengths(packet, bytes),
        }
        counter.count > MAX_UNITS
    }
}

/// Counts units of a stream over the borders of its packets, as a parser that looks for the next picture gathers them.
#[derive(Debug, Default)]
pub(crate) struct NalCounter {
    count: u64,
    /// The last bytes that came, newest last: a start code and the first bytes of its unit may lie across a border.
    window: [u8; 6],
}

impl NalCounter {
    /// Goes on with the bytes of a packet in Annex B; true when the units since a picture began are too many.
    /// `begins_picture` decides by a unit's first three bytes.
    pub fn goes_on(&mut self, packet: &[u8], begins_picture: impl Fn([u8; 3]) -> bool) -> bool {
        let window = &mut self.window;
        let mut flood = false;
        for &byte in packet {
            window.rotate_left(1);
            window[5] = byte;
            if window[..3] == [0, 0, 1] {
                self.count = if begins_picture([window[3], window[4], window[5]]) { 0 } else { self.count + 1 };
                flood |= self.count > MAX_UNITS;
            }
        }
        flood
    }

    fn start_codes(&mut self, packet: &[u8]) {
        let mut at = 0;
        while at + 3 <= packet.len() {
            match packet[at + 2] {
                0 => at += 1,
                1 if packet[at] == 0 && packet[at + 1] == 0 => {
                    self.count += 1;
                    at += 3;
                }
                _ => at += 3,
            }
        }
    }

    fn lengths(&mut self, packet: &[u8], bytes: usize) {
        let mut at = 0;
        while at + bytes <= packet.len() && self.count <= MAX_UNITS {
            let length = packet[at..at + bytes].iter().fold(0usize, |length, &byte| length << 8 | usize::from(byte));
            at += bytes;
            // libav gives a packet up at a length that cannot be.
            if length == 0 || length > packet.len() - at {
                return;
            }
            self.count += 1;
            at += length;
        }
    }
}

/// Whether a unit of H.264 is the first slice of a picture.
pub(crate) fn begins_h264_picture(unit: [u8; 3]) -> bool {
    matches!(unit[0] & 0x1f, 1 | 2 | 5) && unit[1] & 0x80 != 0
}

/// Whether a unit of HEVC is the first slice segment of a picture.
pub(crate) fn begins_hevc_picture(unit: [u8; 3]) -> bool {
    (unit[0] >> 1 & 0x3f) < 32 && unit[2] & 0x80 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_counted_behind_start_codes_and_lengths() {
        let packet = |units| [0, 0, 1, 6].repeat(units);
        assert!(!NalUnits::StartCodes.is_flood(&packet(4096)));
        assert!(NalUnits::StartCodes.is_flood(&packet(4097)));
        assert!(!NalUnits::StartCodes.is_flood(&vec![0; 1 << 20]));
        let packet = |units| [0, 0, 0, 1, 6].repeat(units);
        assert!(!NalUnits::Lengths(4).is_flood(&packet(4096)));
        assert!(NalUnits::Lengths(4).is_flood(&packet(4097)));
        assert!(!NalUnits::Lengths(4).is_flood(&[0xff; 100_000]));
        assert!(!NalUnits::Lengths(4).is_flood(&vec![0; 100_000]), "overwritten with zeros");
    }

    #[test]
    fn the_set_up_data_says_how_units_are_divided() {
        assert_eq!(NalUnits::of(&[1, 100, 0, 40, 0xff, 0xe1], false), NalUnits::Lengths(4));
        assert_eq!(NalUnits::of(&[0, 0, 0, 1, 0x67, 100], false), NalUnits::StartCodes);
        assert_eq!(NalUnits::of(&[], true), NalUnits::StartCodes);
        let mut hevc = [0u8; 23];
        (hevc[0], hevc[21]) = (1, 0xf1);
        assert_eq!(NalUnits::of(&hevc, true), NalUnits::Lengths(2));
    }

    #[test]
    fn pictures_start_the_count_anew_over_packet_borders() {
        let picture = [0, 0, 1, 0x65, 0x88, 0x84];
        let mut counter = NalCounter::default();
        for _ in 0..10_000 {
            for part in picture.chunks(5) {
                assert!(!counter.goes_on(part, begins_h264_picture));
            }
        }
        let filler: Vec<u8> = [0, 0, 1, 6, 0xff, 0xff].repeat(5_000);
        let mut parts = filler.chunks(7);
        assert!(parts.any(|part| counter.goes_on(part, begins_h264_picture)));
        assert!(begins_hevc_picture([0x26, 0x01, 0x80]) && !begins_hevc_picture([0x4e, 0x01, 0x80]));
    }
}
