//! AVI: lists of chunks (RIFF), stream headers, and the two kinds of index.

use std::io::{Read, Seek};

use super::bytes::{Bytes, Result, Stop};
use super::{MAX_EXTRADATA, MAX_FRAMES, MAX_TRACKS};

/// Bytes of an entry of the index behind the film.
const INDEX_ENTRY: u64 = 16;

/// Index types of OpenDML: an index of indexes, and an index of chunks.
const OF_INDEXES: u8 = 0;
const OF_CHUNKS: u8 = 1;

/// Checks all chunks but the film's own. libav steps into lists without regard to their lengths, and so does this.
pub(super) fn check(bytes: &mut Bytes<'_, impl Read + Seek>) -> Result<()> {
    Walk { bytes, streams: 0 }.chunks()
}

struct Walk<'a, 'b, R> {
    bytes: &'a mut Bytes<'b, R>,
    streams: u64,
}

impl<R: Read + Seek> Walk<'_, '_, R> {
    fn chunks(&mut self) -> Result<()> {
        let end = self.bytes.size();
        let mut at = 0;
        while let Some([n0, n1, n2, n3, size @ ..]) = self.bytes.get::<8>(at)? {
            self.bytes.step()?;
            let (name, size) = ([n0, n1, n2, n3], u64::from(u32::from_le_bytes(size)));
            let body = at + 8;
            let until = body.saturating_add(size).min(end);
            match &name {
                b"RIFF" | b"LIST" if self.bytes.get::<4>(body)? != Some(*b"movi") => {
                    at = body + 4;
                    continue;
                }
                // A recording that broke off: the film goes to the end.
                b"LIST" if size == 0 => return Ok(()),
                b"strh" => self.stream(body)?,
                b"strf" if size > MAX_EXTRADATA => {
                    return Stop::refused(format!(
                        "a track's codec description has {size} bytes; {MAX_EXTRADATA} are the most"
                    ));
                }
                b"indx" => self.index(body, until)?,
                b"idx1" => few_enough((until - body) / INDEX_ENTRY)?,
                _ => {}
            }
            // Chunks begin at even places.
            at = until + (size & 1);
        }
        Ok(())
    }

    fn stream(&mut self, body: u64) -> Result<()> {
        self.streams += 1;
        if self.streams > MAX_TRACKS {
            return Stop::refused(format!("the file has more than {MAX_TRACKS} tracks"));
        }
        let is_picture = self.bytes.get::<4>(body)? == Some(*b"vids");
        let frames = u64::from(self.bytes.u32_le(body + 32)?.unwrap_or(0));
        if is_picture { few_enough(frames) } else { Ok(()) }
    }

    /// An index of OpenDML; one of indexes must name indexes of chunks only, because libav follows them.
    fn index(&mut self, body: u64, end: u64) -> Result<()> {
        let (Some([w0, w1, _, kind]), Some(entries)) = (self.bytes.get::<4>(body)?, self.bytes.u32_le(body + 4)?)
        else {
            return Ok(());
        };
        let (entries, entry) = (u64::from(entries), 4 * u64::from(u16::from_le_bytes([w0, w1])));
        if entries.saturating_mul(entry) > end.saturating_sub(body + 24) {
            return Stop::refused(format!("an index claims {entries} entries, which its bytes cannot hold"));
        }
        few_enough(entries)?;
        if kind != OF_INDEXES {
            return Ok(());
        }
        for number in 0..entries {
            self.bytes.step()?;
            let at = self.bytes.get(body + 24 + number * entry)?.map_or(0, u64::from_le_bytes);
            if at == 0 {
                continue;
            }
            let Some([_, _, _, kind]) = self.bytes.get::<4>(at.saturating_add(8))? else { continue };
            if kind != OF_CHUNKS {
                return Stop::refused("an index of indexes names another one");
            }
        }
        Ok(())
    }
}

fn few_enough(frames: u64) -> Result<()> {
    if frames > MAX_FRAMES {
        return Stop::refused(format!("a track claims {frames} frames; {MAX_FRAMES} are the most"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Container, refusal};
    use crate::testing::hostile::avi::{chunk, file, index, stream};

    fn reason(content: &[u8]) -> Option<String> {
        refusal(Container::Avi, content)
    }

    #[test]
    fn streams_and_their_frames_are_bounded() {
        assert_eq!(reason(&file(&stream(b"vids", 1_000).repeat(64))), None);
        assert!(reason(&file(&stream(b"vids", 1_000).repeat(65))).unwrap().contains("more than 64 tracks"));
        assert!(reason(&file(&stream(b"vids", 10_000_001))).unwrap().contains("10000001 frames"));
        assert_eq!(reason(&file(&stream(b"auds", 900_000_000))), None, "samples of sound are no frames");
    }

    #[test]
    fn an_index_needs_its_bytes_and_names_no_index_of_indexes() {
        assert_eq!(reason(&file(&index(1, 2, 2, &[0; 16]))), None);
        assert!(reason(&file(&index(1, 2, 3, &[0; 16]))).unwrap().contains("claims 3 entries"));
        // It lies at 24: behind the head of the file, of its list, and of itself.
        let itself = index(0, 4, 1, &[24u64.to_le_bytes(), [0; 8]].concat());
        assert!(reason(&file(&itself)).unwrap().contains("names another one"));
    }

    #[test]
    fn codec_descriptions_are_bounded() {
        assert!(reason(&file(&chunk(b"strf", &vec![0; 2 << 20]))).unwrap().contains("codec description"));
    }
}
