//! What packets of H.264 and HEVC hold: some recorders store messages, delimiters and parameter sets as samples of their own.

use super::flood::NalUnits;

/// What a packet holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// A picture or a part of one; or what cannot be told.
    Picture,
    /// Parameter sets, for the pictures to come.
    ParameterSets,
    /// Messages, delimiters, filler, or no byte: nothing that is decoded.
    Nothing,
}

impl NalUnits {
    /// What the units of a packet are. One whose units do not add up is damaged: a decoder is to see it.
    pub fn holds(self, packet: &[u8], is_hevc: bool) -> Holds {
        let mut units = Units { rest: packet, divided: self, begun: false };
        let mut holds = Holds::Nothing;
        while let Some(header) = units.next_header() {
            match header.map(|byte| kind(byte, is_hevc)) {
                None | Some(Holds::Picture) => return Holds::Picture,
                Some(Holds::ParameterSets) => holds = Holds::ParameterSets,
                Some(Holds::Nothing) => {}
            }
        }
        holds
    }
}

/// By the first byte of a unit: ITU-T H.264 table 7-1, H.265 table 7-1.
fn kind(header: u8, is_hevc: bool) -> Holds {
    let (number, pictures, sets, nothing) = match is_hevc {
        true => (header >> 1 & 0x3f, 0..=31, 32..=34, 35..=40),
        false => (header & 0x1f, 1..=5, 7..=8, 6..=12),
    };
    match number {
        number if pictures.contains(&number) => Holds::Picture,
        number if sets.contains(&number) => Holds::ParameterSets,
        number if nothing.contains(&number) => Holds::Nothing,
        // Extensions: what they hold is the decoder's to know.
        _ => Holds::Picture,
    }
}

struct Units<'a> {
    rest: &'a [u8],
    divided: NalUnits,
    /// Whether a start code was found.
    begun: bool,
}

impl Units<'_> {
    /// The first byte of the next unit; `Some(None)` where the packet is not made of units; `None` at its end.
    fn next_header(&mut self) -> Option<Option<u8>> {
        if self.rest.is_empty() {
            return None;
        }
        match self.divided {
            NalUnits::Lengths(bytes) => {
                let Some((length, after)) = self.rest.split_at_checked(bytes) else { return Some(None) };
                let length = length.iter().fold(0usize, |length, &byte| length << 8 | usize::from(byte));
                let Some((unit, after)) = after.split_at_checked(length) else { return Some(None) };
                self.rest = after;
                Some(unit.first().copied())
            }
            NalUnits::StartCodes => {
                let code = self.rest.windows(3).position(|bytes| bytes == [0, 0, 1]);
                let header = code.and_then(|at| self.rest.get(at + 3).copied());
                self.rest = code.map_or(&[], |at| &self.rest[at + 3..]);
                match (code, std::mem::replace(&mut self.begun, true)) {
                    (None, true) => None,
                    _ => Some(header),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_sets_and_the_rest_are_told_apart() {
        let stream = |units: &[&[u8]]| units.iter().flat_map(|unit| [&[0, 0, 1], *unit].concat()).collect::<Vec<u8>>();
        let holds = |units: &[&[u8]], is_hevc| NalUnits::StartCodes.holds(&stream(units), is_hevc);
        assert_eq!(holds(&[&[9, 0xf0], &[6, 5, 1, 0x80]], false), Holds::Nothing);
        assert_eq!(holds(&[&[9, 0xf0], &[0x67, 1], &[0x68, 1]], false), Holds::ParameterSets);
        assert_eq!(holds(&[&[0x67, 1], &[0x65, 1]], false), Holds::Picture);
        assert_eq!(holds(&[&[0x4e, 1, 5]], true), Holds::Nothing);
        assert_eq!(holds(&[&[0x40, 1], &[0x42, 1]], true), Holds::ParameterSets);
        assert_eq!(holds(&[&[0x26, 1]], true), Holds::Picture);
    }

    #[test]
    fn what_is_not_made_of_units_is_for_the_decoder() {
        let lengths = NalUnits::Lengths(4);
        assert_eq!(lengths.holds(&[0, 0, 0, 2, 9, 0xf0], false), Holds::Nothing);
        assert_eq!(lengths.holds(&[0, 0, 0, 2, 9, 0xf0, 0, 0], false), Holds::Picture);
        assert_eq!(lengths.holds(&[0, 0, 0, 9, 9, 0xf0], false), Holds::Picture);
        assert_eq!(lengths.holds(&[], false), Holds::Nothing);
        assert_eq!(NalUnits::StartCodes.holds(&[0, 0, 9, 0xf0], false), Holds::Picture);
        assert_eq!(NalUnits::StartCodes.holds(&[9, 0xf0, 0, 0, 1], false), Holds::Picture);
    }
}
