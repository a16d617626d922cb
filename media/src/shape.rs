//! What an encoder needs of a source to continue in its manner: size, clock and colours.

use std::path::Path;

use edits::FrameRate;
use ffmpeg_next::{color, encoder, frame, util::chroma::Location};
use serde::{Deserialize, Serialize};

use crate::colour::{Matrix, Range};
use crate::error::Result;
use crate::normalise;
use crate::output;
use crate::probe;
use crate::{index::FrameIndex, input};

/// How code values are meant, by the tags of ITU-T H.273. Unlike [`Matrix`] and [`Range`], a tag may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColourTags {
    pub(crate) matrix: color::Space,
    pub(crate) range: color::Range,
    pub(crate) primaries: color::Primaries,
    pub(crate) transfer: color::TransferCharacteristic,
    pub(crate) siting: Location,
}

impl ColourTags {
    /// BT.709, limited range, chroma on the left: what this crate's own conversions give.
    pub const BT709: Self = Self {
        matrix: color::Space::BT709,
        range: color::Range::MPEG,
        primaries: color::Primaries::BT709,
        transfer: color::TransferCharacteristic::BT709,
        siting: Location::Left,
    };

    fn of(frame: &frame::Video) -> Self {
        Self {
            matrix: frame.color_space(),
            range: match Range::of(frame.color_range(), frame.format()) {
                Range::Full => color::Range::JPEG,
                Range::Limited => frame.color_range(),
            },
            primaries: frame.color_primaries(),
            transfer: frame.color_transfer_characteristic(),
            siting: frame.chroma_location(),
        }
    }

    /// Writes the tags into the fields that an encoder reads.
    pub(crate) fn apply(&self, video: &mut encoder::video::Video) {
        video.set_colorspace(self.matrix);
        video.set_color_range(self.range);
        video.set_color_primaries(self.primaries);
        video.set_color_transfer_characteristic(self.transfer);
        output::set_chroma_location(video, self.siting);
    }
}

/// The shape of a source's pictures, and of an export that keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamShape {
    /// Displayed size in square pixels, rounded down to even numbers.
    pub width: u32,
    pub height: u32,
    /// Seconds a tick of the source's time stamps, as a fraction.
    pub time_base: (i32, i32),
    /// Average rate, for rate control.
    #[serde(with = "crate::wire::frame_rate")]
    pub rate: FrameRate,
    /// Tags for an encoder: the source's own where its pictures can be taken as they are, else BT.709.
    pub colour: ColourTags,
    /// The meaning of the code values that go with [`StreamShape::colour`].
    pub matrix: Matrix,
    pub range: Range,
    /// Why the decoded planes cannot be taken as they are ([`crate::Picture::to_frame`]) and every picture must go
    /// through [`crate::Cropper`]; `None` for upright, progressive 8-bit 4:2:0 of even size with square pixels.
    pub not_plain: Option<String>,
}

impl StreamShape {
    /// Reads the shape of a file's video stream: its header and one frame.
    ///
    /// # Errors
    /// As [`crate::probe()`].
    pub fn read(path: &Path, index: &FrameIndex) -> Result<Self> {
        let mut source = input::open(path)?;
        let first = probe::first_frame(&mut source, index.stream)?;
        let target = probe::target(&mut source, index.stream, Some(&first))?;
        let rate = input::frame_rate(&mut source, index.stream);
        let not_plain = normalise::not_plain(&first, &target);
        let (colour, matrix, range) = if not_plain.is_none() {
            let (matrix, range) = normalise::meaning(&first);
            (ColourTags::of(&first), matrix, range)
        } else {
            (ColourTags::BT709, Matrix::Bt709, Range::Limited)
        };
        let even = |side: u32| (side & !1).max(2);
        Ok(Self {
            width: even(target.size.0),
            height: even(target.size.1),
            time_base: (target.time_base.numerator(), target.time_base.denominator()),
            rate,
            colour,
            matrix,
            range,
            not_plain,
        })
    }
}
