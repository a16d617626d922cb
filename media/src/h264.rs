//! Reading H.264 as far as putting streams together takes: parameter sets and where pictures start.
//!
//! Syntax is that of ITU-T H.264 (08/2021), clause 7.3; the container's record is `AVCDecoderConfigurationRecord` of
//! ISO/IEC 14496-15.

use serde::{Deserialize, Serialize};

/// NAL unit types, table 7-1.
pub(crate) const SLICE_PARTITIONS_FIRST: u8 = 2;
pub(crate) const SLICE_PARTITIONS_LAST: u8 = 4;
pub(crate) const IDR_SLICE: u8 = 5;
pub(crate) const SPS: u8 = 7;
pub(crate) const PPS: u8 = 8;

/// Profiles whose sequence parameter set states how chroma is sampled.
const HIGH_PROFILES: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// The parameter sets of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AvcRecord {
    /// Profile, compatibility and level of the header.
    pub header: [u8; 3],
    /// Bytes of a NAL unit's length.
    pub length_size: usize,
    pub sps: Vec<Vec<u8>>,
    pub pps: Vec<Vec<u8>>,
    /// What follows for High profiles: chroma format and bit depths.
    tail: Vec<u8>,
}

impl AvcRecord {
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < 7 || bytes[0] != 1 {
            return None;
        }
        let mut at = 5;
        let sps = Self::sets(bytes, &mut at, 0x1f)?;
        let pps = Self::sets(bytes, &mut at, 0xff)?;
        let header = [bytes[1], bytes[2], bytes[3]];
        let length_size = usize::from(bytes[4] & 3) + 1;
        Some(Self { header, length_size, sps, pps, tail: bytes[at..].to_vec() })
    }

    fn sets(bytes: &[u8], at: &mut usize, mask: u8) -> Option<Vec<Vec<u8>>> {
        let count = bytes.get(*at)? & mask;
        *at += 1;
        (0..count)
            .map(|_| {
                let length = usize::from(u16::from_be_bytes([*bytes.get(*at)?, *bytes.get(*at + 1)?]));
                let set = bytes.get(*at + 2..*at + 2 + length)?.to_vec();
                *at += 2 + length;
                Some(set)
            })
            .collect()
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let [profile, compatibility, level] = self.header;
        let mut bytes = vec![1, profile, compatibility, level, 0xfc | (self.length_size as u8 - 1)];
        for (sets, marker) in [(&self.sps, 0xe0), (&self.pps, 0)] {
            bytes.push(marker | sets.len() as u8);
            for set in sets {
                bytes.extend((set.len() as u16).to_be_bytes());
                bytes.extend(set);
            }
        }
        bytes.extend(&self.tail);
        bytes
    }

    /// Takes in the sets of `other` that are not here yet. Two different sets must not have one number; the caller
    /// ensures that.
    pub fn merge(&mut self, other: &Self) {
        for (own, theirs) in [(&mut self.sps, &other.sps), (&mut self.pps, &other.pps)] {
            let new: Vec<_> = theirs.iter().filter(|set| !own.contains(set)).cloned().collect();
            own.extend(new);
        }
        if self.tail.is_empty() {
            self.tail = other.tail.clone();
        }
        self.header[0] = self.header[0].max(other.header[0]);
        self.header[1] &= other.header[1];
        self.header[2] = self.header[2].max(other.header[2]);
    }
}

/// The NAL units of a packet with lengths before them; ends early where the lengths do not add up.
pub(crate) fn units(packet: &[u8], length_size: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = packet;
    std::iter::from_fn(move || {
        let (length, after) = rest.split_at_checked(length_size)?;
        let length = length.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        let (unit, after) = after.split_at_checked(length)?;
        rest = after;
        (length > 0).then_some(unit)
    })
}

/// The NAL units of a byte stream (annex B): what lies between start codes.
pub(crate) fn units_of_stream(stream: &[u8]) -> Vec<Vec<u8>> {
    let starts: Vec<usize> =
        (0..stream.len().saturating_sub(2)).filter(|&at| stream[at..at + 3] == [0, 0, 1]).collect();
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    let unit = |(start, end): (&usize, usize)| {
        let mut unit = &stream[start + 3..end];
        while let [rest @ .., 0] = unit {
            unit = rest;
        }
        unit.to_vec()
    };
    starts.iter().zip(ends).map(unit).filter(|unit| !unit.is_empty()).collect()
}

pub(crate) fn kind(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |byte| byte & 0x1f)
}

/// A sequence parameter set (7.3.2.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sps {
    pub profile: u8,
    pub constraints: u8,
    pub level: u8,
    pub id: u32,
    pub chroma_format: u32,
    pub bit_depth: (u32, u32),
    pub references: u32,
    /// Displayed size, after cropping.
    pub size: (u32, u32),
    /// Luma samples cut off on the left and at the top.
    pub crop_start: (u32, u32),
    pub progressive: bool,
    /// Seconds a frame's tick (two field ticks), and whether every frame lasts one.
    pub tick: Option<(u32, u32, bool)>,
    /// Frames by which decoding may run ahead of output.
    pub reorder: Option<u32>,
    pub buffering: Option<u32>,
}

impl Sps {
    /// Reads a NAL unit of type 7.
    pub fn parse(unit: &[u8]) -> Option<Self> {
        let payload = unescape(unit.get(1..)?);
        let mut bits = Bits { bytes: &payload, at: 0 };
        let profile = bits.take(8)? as u8;
        let constraints = bits.take(8)? as u8;
        let level = bits.take(8)? as u8;
        let id = bits.unsigned()?;
        let (mut chroma_format, mut bit_depth) = (1, (8, 8));
        if HIGH_PROFILES.contains(&profile) {
            chroma_format = bits.unsigned()?;
            if chroma_format == 3 {
                bits.flag()?;
            }
            bit_depth = (8 + bits.unsigned()?, 8 + bits.unsigned()?);
            bits.flag()?;
            if bits.flag()? {
                bits.scaling_matrices(if chroma_format == 3 { 12 } else { 8 })?;
            }
        }
        bits.unsigned()?;
        match bits.unsigned()? {
            0 => {
                bits.unsigned()?;
            }
            1 => {
                bits.flag()?;
                bits.unsigned()?;
                bits.unsigned()?;
                let cycle = bits.unsigned()?;
                (0..cycle.min(255)).try_for_each(|_| bits.unsigned().map(drop))?;
            }
            _ => {}
        }
        let references = bits.unsigned()?;
        bits.flag()?;
        let width = (bits.unsigned()? + 1) * 16;
        let map_height = (bits.unsigned()? + 1) * 16;
        let progressive = bits.flag()?;
        if !progressive {
            bits.flag()?;
        }
        let height = map_height * if progressive { 1 } else { 2 };
        bits.flag()?;
        let mut crop = [0; 4];
        if bits.flag()? {
            for side in &mut crop {
                *side = bits.unsigned()?;
            }
        }
        let across = if matches!(chroma_format, 1 | 2) { 2 } else { 1 };
        let down = if chroma_format == 1 { 2 } else { 1 } * if progressive { 1 } else { 2 };
        let mut sps = Self {
            profile,
            constraints,
            level,
            id,
            chroma_format,
            bit_depth,
            references,
            size: (
                width.checked_sub((crop[0] + crop[1]).checked_mul(across)?)?,
                height.checked_sub((crop[2] + crop[3]).checked_mul(down)?)?,
            ),
            crop_start: (crop[0] * across, crop[2] * down),
            progressive,
            tick: None,
            reorder: None,
            buffering: None,
        };
        if bits.flag()? {
            sps.read_vui(&mut bits)?;
        }
        Some(sps)
    }

    /// Annex E.1.1.
    fn read_vui(&mut self, bits: &mut Bits) -> Option<()> {
        if bits.flag()? && bits.take(8)? == 255 {
            bits.take(32)?;
        }
        if bits.flag()? {
            bits.flag()?;
        }
        if bits.flag()? {
            bits.take(4)?;
            if bits.flag()? {
                bits.take(24)?;
            }
        }
        if bits.flag()? {
            bits.unsigned()?;
            bits.unsigned()?;
        }
        if bits.flag()? {
            let (units, scale) = (bits.take(32)?, bits.take(32)?);
            let fixed = bits.flag()?;
            self.tick = Some((units, scale, fixed));
        }
        let mut buffered = false;
        for _ in ["NAL", "VCL"] {
            if bits.flag()? {
                bits.hypothetical_decoder()?;
                buffered = true;
            }
        }
        if buffered {
            bits.flag()?;
        }
        bits.flag()?;
        if bits.flag()? {
            bits.flag()?;
            (0..4).try_for_each(|_| bits.unsigned().map(drop))?;
            self.reorder = Some(bits.unsigned()?);
            self.buffering = Some(bits.unsigned()?);
        }
        Some(())
    }
}

/// The numbers of a picture parameter set and of its sequence parameter set, and whether it is entropy coded with
/// CABAC (7.3.2.2).
pub(crate) fn pps_ids(unit: &[u8]) -> Option<(u32, u32, bool)> {
    let payload = unescape(unit.get(1..)?);
    let mut bits = Bits { bytes: &payload, at: 0 };
    Some((bits.unsigned()?, bits.unsigned()?, bits.flag()?))
}

/// Drops emulation prevention bytes (7.4.1).
fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut zeros = 0;
    for &byte in bytes {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

/// A bit reader; `None` past the end.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> Option<u32> {
        (0..count).try_fold(0u32, |value, _| Some(value << 1 | u32::from(self.flag()?)))
    }

    fn flag(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1;
        self.at += 1;
        Some(bit == 1)
    }

    /// Exponential Golomb code `ue(v)`, up to 2^16.
    fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 16 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.take(zeros)?)
    }

    fn signed(&mut self) -> Option<i32> {
        let code = self.unsigned()? as i32;
        Some(if code % 2 == 0 { -code / 2 } else { code / 2 + 1 })
    }

    fn scaling_matrices(&mut self, count: usize) -> Option<()> {
        for matrix in 0..count {
            if !self.flag()? {
                continue;
            }
            let (mut last, mut next) = (8, 8);
            for _ in 0..if matrix < 6 { 16 } else { 64 } {
                if next != 0 {
                    next = (last + self.signed()? + 256) % 256;
                }
                last = if next == 0 { last } else { next };
            }
        }
        Some(())
    }

    /// `hrd_parameters`, E.1.2: read over.
    fn hypothetical_decoder(&mut self) -> Option<()> {
        let count = self.unsigned()? + 1;
        self.take(8)?;
        for _ in 0..count.min(32) {
            self.wide()?;
            self.wide()?;
            self.flag()?;
        }
        self.take(20).map(drop)
    }

    /// `ue(v)` of up to 32 bits, read over.
    fn wide(&mut self) -> Option<()> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
        }
        self.at += zeros;
        Some(())
    }
}
