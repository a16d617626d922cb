//! Whether a file is shorter than its own headers state: an interrupted upload, a camera that lost its power.
//!
//! libav plays what is there and mostly does not report that something is missing, so the outermost lengths of the
//! usual containers are compared with the file's.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes of a packet of an MPEG transport stream, plain and with the time stamps of Blu-ray discs.
const TS_PACKETS: [u64; 2] = [188, 192];
const TS_SYNC: u8 = 0x47;

/// Boxes that an MP4 may have beside each other; more are no MP4.
const MOST_BOXES: usize = 1_000_000;

/// True when a file is shorter than its container states; false for a file that cannot be read or is of another
/// container.
pub(crate) fn is_missing(path: &Path, container: &str) -> bool {
    let Ok(mut file) = File::open(path) else {
        return false;
    };
    let Ok(length) = file.metadata().map(|metadata| metadata.len()) else {
        return false;
    };
    let missing = match container {
        name if name.contains("mp4") => box_is_cut(&mut file, length),
        name if name.contains("matroska") => segment_is_cut(&mut file, length),
        "avi" => chunk_is_cut(&mut file, length),
        "mpegts" => packet_is_cut(&mut file, length),
        _ => None,
    };
    missing.unwrap_or(false)
}

/// ISO 14496-12: boxes of a 32-bit length, or of a 64-bit one behind a length of 1; 0 reaches to the end.
fn box_is_cut(file: &mut File, length: u64) -> Option<bool> {
    let mut at = 0;
    for _ in 0..MOST_BOXES {
        if at == length {
            return Some(false);
        }
        let header: [u8; 8] = match read_at(file, at) {
            Some(header) => header,
            None => return Some(true),
        };
        let mut size = u64::from(u32::from_be_bytes([header[0], header[1], header[2], header[3]]));
        if size == 1 {
            size = u64::from_be_bytes(read_at(file, at + 8)?);
        }
        if size == 0 {
            return Some(false);
        }
        if size < 8 {
            // No box: whatever follows the last one is not of this container.
            return None;
        }
        at = at.checked_add(size)?;
        if at > length {
            return Some(true);
        }
    }
    None
}

/// RFC 8794: an EBML header, then a segment whose length may be unknown (all ones).
fn segment_is_cut(file: &mut File, length: u64) -> Option<bool> {
    const SEGMENT: u64 = 0x1853_8067;
    let mut at = 0;
    while at < length {
        let (id, id_bytes) = number(file, at, true)?;
        let (size, size_bytes) = number(file, at + id_bytes, false)?;
        let unknown = size == (1 << (7 * size_bytes)) - 1;
        if unknown {
            return Some(false);
        }
        let end = (at + id_bytes + size_bytes).checked_add(size)?;
        if id == SEGMENT || end > length {
            return Some(end > length);
        }
        at = end;
    }
    None
}

/// A number of EBML: the leading zero bits of its first byte give its length; `marked` keeps the marker, as ids do.
fn number(file: &mut File, at: u64, marked: bool) -> Option<(u64, u64)> {
    let [first] = read_at(file, at)?;
    let bytes = first.leading_zeros() + 1;
    if bytes > 8 {
        return None;
    }
    let mut value = if marked { u64::from(first) } else { u64::from(first) & ((1 << (8 - bytes)) - 1) };
    for place in 1..u64::from(bytes) {
        let [byte] = read_at(file, at + place)?;
        value = value << 8 | u64::from(byte);
    }
    Some((value, u64::from(bytes)))
}

/// RIFF: four letters and a 32-bit length, one such list after the other where the film is large.
fn chunk_is_cut(file: &mut File, length: u64) -> Option<bool> {
    let [r, i, f1, f2, size @ ..]: [u8; 8] = read_at(file, 0)?;
    let end = 8 + u64::from(u32::from_le_bytes(size));
    ([r, i, f1, f2] == *b"RIFF").then_some(end > length)
}

/// ISO 13818-1: packets of one length, each with its sync byte.
fn packet_is_cut(file: &mut File, length: u64) -> Option<bool> {
    let size = TS_PACKETS.into_iter().find(|&size| {
        let first = size - TS_PACKETS[0];
        (0..4).all(|packet| read_at(file, first + packet * size) == Some([TS_SYNC]))
    })?;
    Some(!length.is_multiple_of(size))
}

fn read_at<const N: usize>(file: &mut File, at: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.seek(SeekFrom::Start(at)).ok()?;
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}
