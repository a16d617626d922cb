//! One frame of a source: which one is meant, and its picture.

use std::sync::Arc;

use edits::{CropRect, RgbImage};
use media::{Cropper, FrameDecoder, MediaError};

use super::error::FrameDetectionError;
use crate::render::Source;

/// Which frame of a video.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FrameChoice {
    /// The frame shown at so many source seconds.
    Time(f64),
    /// The frame of this number, from 0.
    Number(u64),
}

/// The number of the frame that is meant.
pub(super) fn number(source: &Source, choice: FrameChoice) -> Result<usize, FrameDetectionError> {
    let times = &source.facts.frames;
    let outside =
        || FrameDetectionError::Outside { frames: times.len(), seconds: edits::rational::to_f64(times.duration()) };
    match choice {
        FrameChoice::Time(time) => {
            let time = edits::rational::seconds_from_f64(time);
            if time > times.duration() { Err(outside()) } else { Ok(times.at_or_before(time)) }
        }
        FrameChoice::Number(number) => {
            usize::try_from(number).ok().filter(|number| *number < times.len()).ok_or_else(outside)
        }
    }
}

/// The whole displayed frame, of so many pixels.
pub(super) fn picture(
    source: &Source,
    number: usize,
    (out_width, out_height): (u32, u32),
) -> Result<RgbImage, MediaError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_DECODE_THREADS);
    let mut decoder = FrameDecoder::open(&source.path, Arc::clone(&source.index), threads)?;
    let (width, height) = (source.facts.width, source.facts.height);
    let whole = CropRect { x: 0.0, y: 0.0, width: f64::from(width), height: f64::from(height) };
    let picture = decoder.frame(number)?;
    Ok(Cropper::new().rgb(&picture, &whole, 0.0, out_width, out_height))
}

/// A person waits for the picture: frames of its group of pictures may be decoded side by side.
const MOST_DECODE_THREADS: usize = 4;
