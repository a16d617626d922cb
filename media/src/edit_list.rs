//! Ending what an MP4 file shows before its last picture.
//!
//! libav's muxer shows every track to its end. Pictures that only others refer to can be hidden behind the end by a
//! shorter edit (ISO/IEC 14496-12, 8.6.6); the boxes that hold lengths are patched in the finished file.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use edits::Rat;

use crate::error::{MediaError, Result};

/// Where a box's content lies.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: u64,
    end: u64,
}

/// Makes the file at `path` end at `end` seconds: every edit that reaches further is cut there, and the lengths of
/// tracks and of the whole follow.
///
/// # Errors
/// [`MediaError::Io`]; [`MediaError::Codec`] when the file is not as the muxer writes it.
pub(crate) fn limit(path: &Path, end: Rat) -> Result<()> {
    let io = |source| MediaError::io("finishing", path, source);
    let file = File::options().read(true).write(true).open(path).map_err(io)?;
    let size = file.metadata().map_err(io)?.len();
    let boxes = Boxes { file: &file, path };
    let movie = boxes.find(Span { start: 0, end: size }, b"moov")?.ok_or_else(|| boxes.wrong())?;
    let header = boxes.find(movie, b"mvhd")?.ok_or_else(|| boxes.wrong())?;
    let wide = boxes.byte(header.start)? == 1;
    let timescale = boxes.number(header.start + if wide { 20 } else { 12 }, 4)?;
    let end = (end * Rat::from(i128::from(timescale))).round().to_integer() as u64;
    boxes.shorten(header.start + if wide { 24 } else { 16 }, wide, end)?;
    for track in boxes.all(movie, b"trak")? {
        let header = boxes.find(track, b"tkhd")?.ok_or_else(|| boxes.wrong())?;
        let wide = boxes.byte(header.start)? == 1;
        boxes.shorten(header.start + if wide { 28 } else { 20 }, wide, end)?;
        let edits = boxes.find(track, b"edts")?.map(|edits| boxes.find(edits, b"elst")).transpose()?.flatten();
        if let Some(edits) = edits {
            boxes.shorten_edits(edits, end)?;
        }
    }
    Ok(())
}

struct Boxes<'a> {
    file: &'a File,
    path: &'a Path,
}

impl Boxes<'_> {
    /// The edits of one track play one after the other.
    fn shorten_edits(&self, edits: Span, end: u64) -> Result<()> {
        let wide = self.byte(edits.start)? == 1;
        let (width, entry) = if wide { (8, 20) } else { (4, 12) };
        let mut played = 0;
        for number in 0..self.number(edits.start + 4, 4)? {
            let at = edits.start + 8 + number * entry;
            self.shorten(at, wide, end.saturating_sub(played))?;
            played += self.number(at, width)?;
        }
        Ok(())
    }

    /// Lowers a length to `most`.
    fn shorten(&self, at: u64, wide: bool, most: u64) -> Result<()> {
        let width = if wide { 8 } else { 4 };
        if self.number(at, width)? <= most {
            return Ok(());
        }
        let bytes = most.to_be_bytes();
        self.file
            .write_all_at(&bytes[8 - width as usize..], at)
            .map_err(|source| MediaError::io("finishing", self.path, source))
    }

    fn find(&self, within: Span, name: &[u8; 4]) -> Result<Option<Span>> {
        Ok(self.all(within, name)?.first().copied())
    }

    fn all(&self, within: Span, name: &[u8; 4]) -> Result<Vec<Span>> {
        let mut found = Vec::new();
        let mut at = within.start;
        while at + 8 <= within.end {
            let mut head = 8;
            let mut size = self.number(at, 4)?;
            if size == 1 {
                (head, size) = (16, self.number(at + 8, 8)?);
            }
            if size < head || size > within.end - at {
                return Err(self.wrong());
            }
            if self.number(at + 4, 4)? == u64::from(u32::from_be_bytes(*name)) {
                found.push(Span { start: at + head, end: at + size });
            }
            at += size;
        }
        Ok(found)
    }

    fn byte(&self, at: u64) -> Result<u64> {
        self.number(at, 1)
    }

    fn number(&self, at: u64, width: u64) -> Result<u64> {
        let mut bytes = [0; 8];
        self.file
            .read_exact_at(&mut bytes[8 - width as usize..], at)
            .map_err(|source| MediaError::io("finishing", self.path, source))?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn wrong(&self) -> MediaError {
        MediaError::codec(format!("finishing {}", self.path.display()), "its boxes are not as they were written")
    }
}
