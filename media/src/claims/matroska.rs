//! Matroska and WebM (RFC 9559): elements of EBML (RFC 8794).
//!
//! Elements in front of the media data are walked, and the head of its first block. What lies behind is reached by
//! libav through an index whose entries are bounded by their bytes.

use std::io::{Read, Seek};

use super::bytes::{Bytes, Result, Stop};
use super::{MAX_EXTRADATA, MAX_TRACKS};

/// Levels of elements, as libav allows.
const MAX_DEPTH: u32 = 16;

/// Blocks that are walked, in search of headers between them.
const CHECKED_BLOCKS: u64 = 10_000;

const SEGMENT: u64 = 0x1853_8067;
const CLUSTER: u64 = 0x1f43_b675;
const TRACKS: u64 = 0x1654_ae6b;
const TRACK: u64 = 0xae;
const CODEC_PRIVATE: u64 = 0x63a2;
const BLOCK_GROUP: u64 = 0xa0;
const BLOCK: u64 = 0xa1;
const SIMPLE_BLOCK: u64 = 0xa3;
const SIMPLE_TAG: u64 = 0x67c8;
const CHAPTER_ATOM: u64 = 0xb6;

/// Elements that hold elements and are walked: the segment, tracks with their encodings and settings, clusters, tags
/// and chapters, which may contain themselves.
const MASTERS: [u64; 18] = [
    SEGMENT,
    CLUSTER,
    TRACKS,
    TRACK,
    BLOCK_GROUP,
    SIMPLE_TAG,
    CHAPTER_ATOM,
    0xe0,
    0xe1,
    0x6d80,
    0x6240,
    0x5034,
    0x5035,
    0x1254_c367,
    0x7373,
    0x1043_a770,
    0x45b9,
    0x80,
];

/// Elements of headers, which must be there whole; media data may be cut off.
const WHOLE: [u64; 5] = [TRACK, CODEC_PRIVATE, 0x6d80, 0x6240, 0x5034];

/// Checks the headers of a file and the first of its blocks.
pub(super) fn check(bytes: &mut Bytes<'_, impl Read + Seek>) -> Result<()> {
    let size = bytes.size();
    Walk { bytes, tracks: 0, blocks: 0, in_cluster: false }.elements(0, size, 0)
}

struct Walk<'a, 'b, R> {
    bytes: &'a mut Bytes<'b, R>,
    tracks: u64,
    blocks: u64,
    /// Whether media data is walked. It may be damaged, and what looks like a header in it is none.
    in_cluster: bool,
}

impl<R: Read + Seek> Walk<'_, '_, R> {
    fn elements(&mut self, mut at: u64, end: u64, depth: u32) -> Result<()> {
        if depth > MAX_DEPTH {
            return Stop::refused(format!("its elements are nested more than {MAX_DEPTH} levels deep"));
        }
        while at < end && self.blocks < CHECKED_BLOCKS {
            self.bytes.step()?;
            let Some((id, id_bytes)) = self.number(at, true)? else { return Ok(()) };
            let Some((size, size_bytes)) = self.number(at + id_bytes, false)? else { return Ok(()) };
            let body = at + id_bytes + size_bytes;
            let unknown = size == (1 << (7 * size_bytes)) - 1;
            let claimed_end = if unknown { end } else { body.saturating_add(size) };
            if WHOLE.contains(&id) && claimed_end > end && !self.in_cluster {
                return Stop::refused(format!(
                    "a track's header claims {size} bytes where {} are left",
                    end.saturating_sub(body)
                ));
            }
            let until = claimed_end.min(end);
            self.one(id, body, until)?;
            if MASTERS.contains(&id) {
                let outer = self.in_cluster;
                self.in_cluster |= id == CLUSTER;
                self.elements(body, until, depth + 1)?;
                self.in_cluster = outer;
            }
            at = until;
        }
        Ok(())
    }

    fn one(&mut self, id: u64, body: u64, end: u64) -> Result<()> {
        match id {
            BLOCK | SIMPLE_BLOCK => return self.block(body, end),
            _ if self.in_cluster => {}
            TRACK => {
                self.tracks += 1;
                if self.tracks > MAX_TRACKS {
                    return Stop::refused(format!("the file has more than {MAX_TRACKS} tracks"));
                }
            }
            CODEC_PRIVATE if end - body > MAX_EXTRADATA => {
                return Stop::refused(format!(
                    "a track's codec description has {} bytes; {MAX_EXTRADATA} are the most",
                    end - body
                ));
            }
            _ => {}
        }
        Ok(())
    }

    /// A block with lacing holds several frames, each of which has at least a byte of the block or of its table.
    fn block(&mut self, body: u64, end: u64) -> Result<()> {
        self.blocks += 1;
        let Some((_, track_bytes)) = self.number(body, false)? else { return Ok(()) };
        let head = body + track_bytes + 2;
        let (Some([flags]), Some([laces])) = (self.bytes.get::<1>(head)?, self.bytes.get::<1>(head + 1)?) else {
            return Ok(());
        };
        let frames = u64::from(laces) + 1;
        let left = end.saturating_sub(head + 2);
        // Later blocks may be damaged, and the last one cut off.
        let is_judged = self.blocks == 1 && end < self.bytes.size();
        if is_judged && flags & 0x06 != 0 && frames > left + 1 {
            return Stop::refused(format!("a block claims {frames} frames in {left} bytes"));
        }
        Ok(())
    }

    /// A number of EBML with its length in bytes: the leading zero bits of its first byte give the length; `marked`
    /// keeps the marker, as ids do.
    fn number(&mut self, at: u64, marked: bool) -> Result<Option<(u64, u64)>> {
        let Some([first]) = self.bytes.get::<1>(at)? else { return Ok(None) };
        let length = u64::from(first.leading_zeros()) + 1;
        if length > 8 {
            return Ok(None);
        }
        let mut value = if marked { u64::from(first) } else { u64::from(first) & ((1 << (8 - length)) - 1) };
        for place in 1..length {
            let Some([byte]) = self.bytes.get::<1>(at + place)? else { return Ok(None) };
            value = value << 8 | u64::from(byte);
        }
        Ok(Some((value, length)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Container, refusal};
    use super::*;
    use crate::testing::hostile::matroska::{element, file};

    fn reason(content: &[u8]) -> Option<String> {
        refusal(Container::Matroska, content)
    }

    fn track(inside: &[u8]) -> Vec<u8> {
        element(TRACK, inside)
    }

    #[test]
    fn honest_headers_pass_and_many_tracks_do_not() {
        let tracks = |count| file(&element(TRACKS, &track(&element(0xd7, &[1])).repeat(count)));
        assert_eq!(reason(&tracks(64)), None);
        assert!(reason(&tracks(65)).unwrap().contains("more than 64 tracks"));
    }

    #[test]
    fn a_track_longer_than_its_file_is_refused() {
        let mut cut = file(&element(TRACKS, &track(&[0xec; 40])));
        cut.truncate(cut.len() - 10);
        assert!(reason(&cut).unwrap().contains("where"));
        // A cluster that is cut off is an interrupted recording.
        let mut tail = file(&element(CLUSTER, &element(SIMPLE_BLOCK, &[0x81, 0, 0, 0, 9, 9, 9])));
        tail.truncate(tail.len() - 2);
        assert_eq!(reason(&tail), None);
    }

    #[test]
    fn codec_descriptions_are_bounded() {
        let private = element(CODEC_PRIVATE, &vec![0; 2 << 20]);
        assert!(reason(&file(&element(TRACKS, &track(&private)))).unwrap().contains("codec description"));
    }

    #[test]
    fn tags_within_tags_are_bounded() {
        let nested = (0..20).fold(Vec::new(), |inside, _| element(SIMPLE_TAG, &inside));
        assert!(reason(&file(&element(0x1254_c367, &element(0x7373, &nested)))).unwrap().contains("levels deep"));
    }

    #[test]
    fn laces_need_their_bytes() {
        let cluster =
            |block: &[u8]| file(&element(CLUSTER, &[element(SIMPLE_BLOCK, block), element(0xec, &[0; 9])].concat()));
        assert_eq!(reason(&cluster(&[0x81, 0, 0, 0x02, 1, 2, 7, 7, 7, 7])), None);
        assert!(reason(&cluster(&[0x81, 0, 0, 0x02, 255, 0, 0])).unwrap().contains("claims 256 frames"));
    }
}
