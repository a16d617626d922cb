//! One decoded, upright picture.

use ffmpeg_next::{format::Pixel, frame};

use crate::colour::{Matrix, Range};
use crate::error::{MediaError, Result};
use crate::yuv::YuvFrame;

/// An upright picture in 8-bit planar Y'CbCr (4:2:0, 4:2:2 or 4:4:4), as decoded: the planes are the decoder's own
/// reference-counted buffers. Its displayed size counts square pixels; the planes may be narrower (anamorphic video).
pub struct Picture {
    frame: frame::Video,
    pub(crate) matrix: Matrix,
    pub(crate) range: Range,
    pub(crate) chroma: Chroma,
    width: u32,
    height: u32,
}

/// How the chroma planes relate to luma.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Chroma {
    /// Luma samples per chroma sample, across and down: 1 or 2.
    pub step: (u32, u32),
    /// How far chroma samples sit from the middle of their luma samples, in chroma samples: 0.25 where they sit on
    /// the first one (left, top), 0 in the middle.
    pub offset: (f64, f64),
}

/// One 8-bit plane.
#[derive(Clone, Copy)]
pub(crate) struct Plane<'a> {
    pub data: &'a [u8],
    pub stride: usize,
    pub width: usize,
    pub height: usize,
}

impl<'a> Plane<'a> {
    /// A plane without padding.
    pub fn packed(data: &'a [u8], width: usize, height: usize) -> Self {
        Self { data, stride: width, width, height }
    }

    pub fn row(&self, y: usize) -> &'a [u8] {
        &self.data[y * self.stride..][..self.width]
    }
}

impl Picture {
    /// Takes over a decoded frame of `width` x `height` displayed pixels.
    pub(crate) fn new(
        frame: frame::Video,
        (matrix, range): (Matrix, Range),
        offset: (f64, f64),
        (width, height): (u32, u32),
    ) -> Result<Self> {
        let step = match frame.format() {
            Pixel::YUV420P | Pixel::YUVJ420P => (2, 2),
            Pixel::YUV422P | Pixel::YUVJ422P => (2, 1),
            Pixel::YUV444P | Pixel::YUVJ444P => (1, 1),
            other => {
                return Err(MediaError::codec(
                    "taking over a decoded picture",
                    format!("pixel format {other:?} was not converted"),
                ));
            }
        };
        let offset = (if step.0 == 2 { offset.0 } else { 0.0 }, if step.1 == 2 { offset.1 } else { 0.0 });
        if (0..3).any(|plane| frame.stride(plane) < frame.plane_width(plane) as usize || frame.stride(plane) > 1 << 20)
        {
            return Err(MediaError::codec(
                "taking over a decoded picture",
                "its rows are not stored from top to bottom",
            ));
        }
        Ok(Self { frame, matrix, range, chroma: Chroma { step, offset }, width, height })
    }

    /// Displayed width in square pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Displayed height in square pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The matrix its code values are meant in.
    pub fn matrix(&self) -> Matrix {
        self.matrix
    }

    /// The range its code values are meant in.
    pub fn range(&self) -> Range {
        self.range
    }

    /// Plane 0 (luma), 1 (Cb) or 2 (Cr).
    pub(crate) fn plane(&self, index: usize) -> Plane<'_> {
        Plane {
            data: self.frame.data(index),
            stride: self.frame.stride(index),
            width: self.frame.plane_width(index) as usize,
            height: self.frame.plane_height(index) as usize,
        }
    }

    /// Copies the planes as they are, keeping `out`'s buffers where they fit; the code values keep
    /// [`Picture::matrix`] and [`Picture::range`].
    ///
    /// # Errors
    /// [`MediaError::Codec`] when the picture is not 4:2:0 of even size with square pixels (see
    /// [`crate::StreamShape::not_plain`]).
    pub fn to_frame(&self, out: &mut YuvFrame) -> Result<()> {
        let planes = (self.frame.width(), self.frame.height());
        let even = self.width.is_multiple_of(2) && self.height.is_multiple_of(2);
        if self.chroma.step != (2, 2) || planes != (self.width, self.height) || !even {
            return Err(MediaError::codec(
                "copying a picture",
                format!("{}x{} planes are not a plain {}x{} picture", planes.0, planes.1, self.width, self.height),
            ));
        }
        (out.width, out.height) = planes;
        for (index, to) in [&mut out.y, &mut out.u, &mut out.v].into_iter().enumerate() {
            let plane = self.plane(index);
            to.clear();
            (0..plane.height).for_each(|y| to.extend_from_slice(plane.row(y)));
        }
        Ok(())
    }

    /// Plane samples per displayed pixel, across and down, for luma.
    pub(crate) fn density(&self) -> (f64, f64) {
        (f64::from(self.frame.width()) / f64::from(self.width), f64::from(self.frame.height()) / f64::from(self.height))
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Picture")
            .field("width", &self.width)
            .field("height", &self.height)
            .field("matrix", &self.matrix)
            .field("range", &self.range)
            .field("chroma", &self.chroma)
            .finish_non_exhaustive()
    }
}
