//! MPEG transport streams (ISO/IEC 13818-1): the programs, their tracks and the packet identifiers in use.
//!
//! libav keeps a buffer for each track, so their number is bounded; a stream without tables gets a track for every
//! identifier.

use std::collections::BTreeSet;
use std::io::{Read, Seek};

use super::MAX_TRACKS;
use super::bytes::{Bytes, Result, Stop};

/// Bytes of a packet: plain, with the time stamps of Blu-ray discs, with error correction.
const PACKETS: [u64; 3] = [188, 192, 204];
const SYNC: u8 = 0x47;

/// Packets that are read: 12 MB. Tables are repeated several times a second.
const CHECKED_PACKETS: u64 = 65_536;

/// Packet identifiers of one file, tables and padding included: a full broadcast multiplex has about 200.
const MAX_PIDS: usize = 512;

/// Where the programs are listed, the numbers of both tables, and the bytes behind a table's entries.
const PROGRAMS: u16 = 0;
const PROGRAM_TABLE: u8 = 0x00;
const TRACK_TABLE: u8 = 0x02;
const CHECKSUM: usize = 4;

/// Checks the first packets of a file.
pub(super) fn check(bytes: &mut Bytes<'_, impl Read + Seek>) -> Result<()> {
    let Some((mut at, size)) = layout(bytes)? else { return Ok(()) };
    let (mut pids, mut programs, mut tracks) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for _ in 0..CHECKED_PACKETS {
        let Some(packet) = bytes.get::<188>(at)? else { break };
        at += size;
        if packet[0] != SYNC {
            continue;
        }
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        pids.insert(pid);
        let starts = packet[1] & 0x40 != 0;
        if let Some(section) = payload(&packet).filter(|_| starts).and_then(section) {
            if pid == PROGRAMS && section[0] == PROGRAM_TABLE {
                programs.extend(program_tables(section));
            } else if programs.contains(&pid) && section[0] == TRACK_TABLE {
                tracks.extend(track_pids(section));
            }
        }
    }
    for (what, found, most) in [
        ("programs", programs.len(), MAX_TRACKS as usize),
        ("tracks", tracks.len(), MAX_TRACKS as usize),
        ("packet identifiers", pids.len(), MAX_PIDS),
    ] {
        if found > most {
            return Stop::refused(format!("the stream has {found} {what}; {most} are the most"));
        }
    }
    Ok(())
}

/// Where the first packet begins and how far the packets are apart; `None` where no packets are found.
fn layout(bytes: &mut Bytes<'_, impl Read + Seek>) -> Result<Option<(u64, u64)>> {
    for size in PACKETS {
        for first in 0..size {
            let mut all = true;
            for packet in 0..4 {
                all &= all && bytes.get::<1>(first + packet * size)? == Some([SYNC]);
            }
            if all {
                return Ok(Some((first, size)));
            }
        }
    }
    Ok(None)
}

/// A packet's content behind its head and adaptation field.
fn payload(packet: &[u8; 188]) -> Option<&[u8]> {
    match packet[3] >> 4 & 0x3 {
        1 => Some(&packet[4..]),
        3 => packet.get(5 + usize::from(packet[4])..),
        _ => None,
    }
}

/// The part of a table that lies in its first packet, without its checksum.
fn section(payload: &[u8]) -> Option<&[u8]> {
    let section = payload.get(1 + usize::from(*payload.first()?)..)?;
    let length = usize::from(u16::from_be_bytes([section.get(1)? & 0x0f, *section.get(2)?]));
    let end = section.len().min((3 + length).saturating_sub(CHECKSUM));
    Some(&section[..end]).filter(|section| section.len() >= 8)
}

/// Packet identifiers of the tables of tracks, one for each program.
fn program_tables(section: &[u8]) -> impl Iterator<Item = u16> {
    let entries = section[8..].chunks_exact(4).filter(|entry| entry[..2] != [0, 0]);
    entries.map(|entry| u16::from_be_bytes([entry[2] & 0x1f, entry[3]]))
}

/// Packet identifiers of a program's tracks.
fn track_pids(section: &[u8]) -> Vec<u16> {
    let described = |at: usize| usize::from(u16::from_be_bytes([section[at] & 0x0f, section[at + 1]]));
    let mut found = Vec::new();
    let mut at = if section.len() >= 12 { 12 + described(10) } else { section.len() };
    while at + 5 <= section.len() {
        found.push(u16::from_be_bytes([section[at + 1] & 0x1f, section[at + 2]]));
        at += 5 + described(at + 3);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{Container, refusal};
    use crate::testing::hostile::mpegts::{padding, programs, tracks};

    fn reason(packets: &[Vec<u8>]) -> Option<String> {
        refusal(Container::MpegTs, &packets.concat())
    }

    #[test]
    fn an_honest_stream_passes() {
        let ids: Vec<u16> = (0x100..0x106).collect();
        assert_eq!(reason(&[programs(&[(1, 0x20)]), tracks(0x20, &ids), padding(0x100), padding(0x101)]), None);
        assert_eq!(reason(&[vec![0; 4_000]]), None, "no stream at all");
    }

    #[test]
    fn many_programs_tracks_and_identifiers_are_refused() {
        let several = |count: u16| -> Vec<Vec<u8>> {
            let ids: Vec<u16> = (0..30).collect();
            let tables = (0..count).flat_map(|n| {
                let shifted: Vec<u16> = ids.iter().map(|id| 0x400 + n * 30 + id).collect();
                [programs(&[(n + 1, 0x20 + n)]), tracks(0x20 + n, &shifted)]
            });
            tables.collect()
        };
        assert_eq!(reason(&several(2)), None);
        assert!(reason(&several(3)).unwrap().contains("90 tracks"));
        let many: Vec<_> = (0..70).map(|n| programs(&[(n + 1, 0x100 + n)])).collect();
        assert!(reason(&many).unwrap().contains("70 programs"));
        let spread: Vec<_> = (0x200..0x500).map(padding).collect();
        assert!(reason(&spread).unwrap().contains("packet identifiers"));
    }
}
