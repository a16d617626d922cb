//! One frame of a source: which one is meant, and its picture.

use super::error::FrameDetectionError;
use crate::processes::task::PictureTask;
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

/// The task of making its picture, of so many pixels.
pub(super) fn picture(source: &Source, number: usize, size: (u32, u32)) -> PictureTask {
    PictureTask {
        path: source.path.clone(),
        index: source.index.to_bytes(),
        frame: number as u64,
        source_size: (source.facts.width, source.facts.height),
        size,
        jpeg: false,
    }
}
