//! What happens to a file after it was encoded.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::ffmpeg::ffmpeg;

/// One change of a file.
#[derive(Clone)]
pub enum Change {
    /// Keeps this share of the file from its start.
    CutTail(f64),
    /// Leaves this share of the file out at its start.
    CutHead(f64),
    /// Overwrites so many bytes from this share of the file on with noise.
    Overwrite(f64, usize),
    /// Ends the file where the box of this name begins.
    CutAtBox(&'static [u8; 4]),
    /// Overwrites the media data of an MP4 whose index is behind it.
    OverwriteMedia,
    /// Copies the streams into a file of the same name with these arguments (before and after the input).
    Copy(&'static [&'static str], &'static [&'static str]),
    /// Cuts the file where groups begin, at these seconds, and puts the pieces one behind the other again, each with time
    /// stamps that start anew. Arguments may change them further.
    Restart(&'static str, &'static [&'static str]),
    /// Cuts the file where groups begin, at these seconds, encodes the sound of each piece anew with its arguments, and puts the
    /// pieces one behind the other again.
    SoundOfPieces(&'static str, &'static [&'static [&'static str]]),
    /// Writes the display matrix `a b c d` of ISO 14496-12 into the video track's header.
    DisplayMatrix([i32; 4]),
    /// Replaces the first of these bytes by those, which are as many.
    Patch(&'static [u8], &'static [u8]),
    /// Replaces all of these bytes by those.
    EveryPatch(&'static [u8], &'static [u8]),
    /// Lets an MP4's video track claim this size where the codec's name stands.
    ClaimSize(&'static [u8; 4], u16, u16),
}

impl Change {
    /// Changes the file in place.
    ///
    /// # Errors
    /// When the file has not what is to be changed.
    pub fn apply(&self, path: &Path) -> Result<()> {
        if let Self::Copy(before, after) = self {
            return copy(path, before, after);
        }
        match self {
            Self::Restart(times, arguments) => {
                let pieces = split(path, times, &[&["-reset_timestamps", "1"], *arguments].concat())?;
                return join(path, &pieces);
            }
            Self::SoundOfPieces(times, sounds) => {
                let pieces = split(path, times, &[])?;
                for (piece, sound) in pieces.iter().zip(*sounds) {
                    copy(
                        piece,
                        &["-copyts"],
                        &[&["-c:v", "copy", "-c:a", "aac", "-copyts", "-muxdelay", "0"], *sound].concat(),
                    )?;
                }
                return join(path, &pieces);
            }
            _ => {}
        }
        let mut bytes = std::fs::read(path)?;
        let place = |share: f64| (bytes.len() as f64 * share) as usize;
        match self {
            Self::CutTail(share) => bytes.truncate(place(*share)),
            Self::CutHead(share) => drop(bytes.drain(..place(*share))),
            Self::CutAtBox(name) => bytes.truncate(find(&bytes, *name)? - 4),
            Self::Overwrite(share, count) => {
                let start = place(*share);
                overwrite(&mut bytes[start..start + count]);
            }
            Self::OverwriteMedia => {
                let (start, end) = (find(&bytes, b"mdat")? + 4, find(&bytes, b"moov")? - 4);
                overwrite(&mut bytes[start..end]);
            }
            Self::DisplayMatrix(entries) => write_matrix(&mut bytes, *entries)?,
            Self::Patch(from, to) => {
                ensure!(from.len() == to.len(), "a patch keeps the length");
                let at = find(&bytes, from)?;
                bytes[at..at + to.len()].copy_from_slice(to);
            }
            Self::EveryPatch(from, to) => {
                let mut at = 0;
                while let Ok(found) = find(&bytes[at..], from) {
                    bytes[at + found..at + found + to.len()].copy_from_slice(to);
                    at += found + to.len();
                }
                ensure!(at > 0, "there is nothing to patch");
            }
            Self::ClaimSize(name, width, height) => {
                // VisualSampleEntry: 24 bytes between the name and the size.
                let entries = find(&bytes, b"stsd")?;
                let at = entries + find(&bytes[entries..], *name)? + 4 + 24;
                bytes[at..at + 2].copy_from_slice(&width.to_be_bytes());
                bytes[at + 2..at + 4].copy_from_slice(&height.to_be_bytes());
            }
            Self::Copy(..) | Self::Restart(..) | Self::SoundOfPieces(..) => unreachable!("done above"),
        }
        Ok(std::fs::write(path, bytes)?)
    }
}

/// Noise, the same each time.
fn overwrite(bytes: &mut [u8]) {
    let mut noise = 0x2545_F491_u32;
    for byte in bytes {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (noise >> 24) as u8;
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Result<usize> {
    let found = bytes.windows(what.len()).position(|window| window == what);
    found.with_context(|| format!("there is no {:?} in it", String::from_utf8_lossy(what)))
}

/// Writes the matrix of the first track header (TrackHeaderBox, version 0), which is the video's.
fn write_matrix(bytes: &mut [u8], [a, b, c, d]: [i32; 4]) -> Result<()> {
    let at = find(bytes, b"tkhd")? + 4 + 40;
    let side =
        |offset: usize| i32::from_be_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]]);
    let (width, height) = (side(at + 36), side(at + 40));
    // Moved so that the turned picture's corner is the origin.
    let x = [a * width, c * height].into_iter().filter(|reach| *reach < 0).sum::<i32>().abs();
    let y = [b * width, d * height].into_iter().filter(|reach| *reach < 0).sum::<i32>().abs();
    let one = 1 << 16;
    let matrix = [a * one, b * one, 0, c * one, d * one, 0, x, y, 1 << 30];
    for (place, entry) in matrix.iter().enumerate() {
        bytes[at + place * 4..at + place * 4 + 4].copy_from_slice(&entry.to_be_bytes());
    }
    Ok(())
}

fn copy(path: &Path, before: &[&str], after: &[&str]) -> Result<()> {
    let whole = path.with_file_name(format!("whole.{}", extension(path)));
    std::fs::rename(path, &whole)?;
    let arguments = before.iter().map(OsStr::new).chain([OsStr::new("-i"), whole.as_os_str()]);
    ffmpeg(arguments.chain(after.iter().map(OsStr::new)).chain([path.as_os_str()]))?;
    Ok(std::fs::remove_file(whole)?)
}

/// Bytes of an FLV file before its first tag: only the first piece keeps them.
const FLV_HEADER: usize = 13;

/// Cuts a file where groups begin, at these seconds; the paths of the pieces.
fn split(path: &Path, times: &str, arguments: &[&str]) -> Result<Vec<PathBuf>> {
    let extension = extension(path).into_owned();
    let format = match extension.as_str() {
        "ts" => "mpegts",
        "mkv" => "matroska",
        other => other,
    };
    let pattern = path.with_file_name(format!("piece-%d.{extension}"));
    let split = ["-c", "copy", "-f", "segment", "-segment_format", format, "-segment_times", times];
    let arguments = split.iter().chain(arguments).map(OsStr::new);
    ffmpeg([OsStr::new("-i"), path.as_os_str()].into_iter().chain(arguments).chain([pattern.as_os_str()]))?;
    let piece = |number| path.with_file_name(format!("piece-{number}.{extension}"));
    Ok((0..=times.split(',').count()).map(piece).collect())
}

/// Puts pieces one behind the other, and removes them.
fn join(path: &Path, pieces: &[PathBuf]) -> Result<()> {
    let mut whole = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        let bytes = std::fs::read(piece).with_context(|| format!("reading {}", piece.display()))?;
        let header = if number > 0 && extension(path) == "flv" { FLV_HEADER } else { 0 };
        whole.extend_from_slice(&bytes[header..]);
        std::fs::remove_file(piece)?;
    }
    Ok(std::fs::write(path, whole)?)
}

fn extension(path: &Path) -> std::borrow::Cow<'_, str> {
    path.extension().unwrap_or_default().to_string_lossy()
}
