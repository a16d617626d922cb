//! Packets of MPEG transport streams.

/// A packet of `pid` with this content, padded with 0xff; `starts` marks the start of a table or of a track's packet.
pub fn packet(pid: u16, starts: bool, content: &[u8]) -> Vec<u8> {
    let mut packet = vec![0xff; 188];
    let [high, low] = pid.to_be_bytes();
    packet[..4].copy_from_slice(&[0x47, high & 0x1f | u8::from(starts) << 6, low, 0x10]);
    packet[4..4 + content.len()].copy_from_slice(content);
    packet
}

/// A packet of a track without content.
pub fn padding(pid: u16) -> Vec<u8> {
    packet(pid, false, &[])
}

/// The table of programs: each with the identifier of its table of tracks.
pub fn programs(programs: &[(u16, u16)]) -> Vec<u8> {
    let entries = programs.iter().flat_map(|(number, pid)| {
        let [n0, n1] = number.to_be_bytes();
        let [p0, p1] = pid.to_be_bytes();
        [n0, n1, p0 | 0xe0, p1]
    });
    table(0, 0x00, &entries.collect::<Vec<_>>())
}

/// The table of a program's tracks, all of H.264, at most 30.
pub fn tracks(pid: u16, tracks: &[u16]) -> Vec<u8> {
    let entries = tracks.iter().flat_map(|track| {
        let [high, low] = track.to_be_bytes();
        [0x1b, high | 0xe0, low, 0xf0, 0]
    });
    let head = [0xe1, 0x00, 0xf0, 0x00];
    table(pid, 0x02, &head.into_iter().chain(entries).collect::<Vec<_>>())
}

fn table(pid: u16, id: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = (5 + content.len() as u16 + 4).to_be_bytes();
    let mut section = vec![id, 0xb0 | high, low, 0, 1, 0xc1, 0, 0];
    section.extend(content);
    section.extend(checksum(&section).to_be_bytes());
    packet(pid, true, &[&[0], &section[..]].concat())
}

/// The checksum of tables (ISO/IEC 13818-1, annex A).
fn checksum(section: &[u8]) -> u32 {
    section.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte) << 24, |sum, _| sum << 1 ^ if sum >> 31 == 1 { 0x04c1_1db7 } else { 0 })
    })
}
