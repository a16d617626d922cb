//! What a file's headers claim, checked against its size before libav opens it.
//!
//! A demuxer allocates its tables by counts that stand in the file, often before it reads the entries. Each container
//! has a file of its own here that walks the headers with bounded reads (a window of 4 KiB) and bounded steps and
//! refuses what no honest file holds: tables longer than their boxes, more frames than bytes, too many tracks, boxes
//! nested without end. What is merely cut short or damaged passes: that is for libav to conceal and to report.
//!
//! The checks decide by counts and sizes only. A container that is not among them is left to libav.

mod avi;
mod bytes;
mod flood;
mod matroska;
mod mp4;
mod mpegts;
mod units;

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use bytes::{Bytes, Stop};

use crate::error::{MediaError, Result};

pub(crate) use flood::{NalCounter, NalUnits, begins_h264_picture, begins_hevc_picture};
pub(crate) use units::Holds;

/// Tracks of one file, of any kind.
pub(crate) const MAX_TRACKS: u64 = 64;

/// Frames of one track: 46 hours at 60 frames a second.
pub(crate) const MAX_FRAMES: u64 = 10_000_000;

/// Bytes of a codec's set-up data (extradata) of one track. Real ones have some hundred.
pub(crate) const MAX_EXTRADATA: u64 = 1 << 20;

/// A container whose headers are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    Mp4,
    Matroska,
    Avi,
    MpegTs,
}

impl Container {
    /// By libav's name of the demuxer that would open the file; `None` where nothing is checked.
    pub fn of(demuxer: &str) -> Option<Self> {
        match demuxer {
            name if name.contains("mp4") => Some(Self::Mp4),
            name if name.contains("matroska") => Some(Self::Matroska),
            "avi" => Some(Self::Avi),
            "mpegts" => Some(Self::MpegTs),
            _ => None,
        }
    }
}

/// Checks the headers of the file at `path`. Takes well under a second, whatever the file's size.
///
/// # Errors
/// [`MediaError::Refused`] with the code `unreadable` when the headers claim what the file cannot hold;
/// [`MediaError::Io`] when it cannot be read.
pub(crate) fn check_file(path: &Path, container: Container) -> Result<()> {
    let mut file = File::open(path).map_err(|source| MediaError::io("opening", path, source))?;
    let size = file.metadata().map_err(|source| MediaError::io("reading", path, source))?.len();
    match check(&mut file, size, container) {
        Ok(()) => Ok(()),
        Err(Stop::Refused(detail)) => Err(MediaError::refused("unreadable", detail)),
        Err(Stop::Io(source)) => Err(MediaError::io("reading", path, source)),
    }
}

fn check(source: &mut (impl Read + Seek), size: u64, container: Container) -> std::result::Result<(), Stop> {
    let mut bytes = Bytes::new(source, size);
    // libav steps over such a tag in front of any container, and would then find other headers than were checked.
    if bytes.get::<3>(0)? == Some(*b"ID3") {
        return Stop::refused("a tag of a sound file (ID3) lies before the video's header");
    }
    match container {
        Container::Mp4 => mp4::check(&mut bytes),
        Container::Matroska => matroska::check(&mut bytes),
        Container::Avi => avi::check(&mut bytes),
        Container::MpegTs => mpegts::check(&mut bytes),
    }
}

/// What a check says of bytes: the reason of a refusal. For the tests of the containers.
#[cfg(test)]
fn refusal(container: Container, bytes: &[u8]) -> Option<String> {
    match check(&mut std::io::Cursor::new(bytes), bytes.len() as u64, container) {
        Ok(()) => None,
        Err(Stop::Refused(reason)) => Some(reason),
        Err(Stop::Io(error)) => panic!("reading from memory: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_before_the_header_is_refused() {
        let reason = refusal(Container::Mp4, b"ID3\x04\0\0\0\0\0\0").unwrap();
        assert!(reason.contains("ID3"), "{reason}");
    }

    #[test]
    fn demuxers_are_known_by_name() {
        assert_eq!(Container::of("mov,mp4,m4a,3gp,3g2,mj2"), Some(Container::Mp4));
        assert_eq!(Container::of("matroska,webm"), Some(Container::Matroska));
        assert_eq!(Container::of("flv"), None);
    }
}
