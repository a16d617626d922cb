//! What is drawn on.

use crate::colour::{Matrix, Range};
use crate::yuv::YuvFrame;

/// Size and colour of the pictures something is drawn on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanvasFormat {
    /// Luma pixels across and down; chroma has half as many, rounded up.
    pub width: u32,
    pub height: u32,
    pub matrix: Matrix,
    pub range: Range,
}

impl CanvasFormat {
    /// Width and height of the luma plane (0) or of a chroma plane (1, 2).
    pub(super) fn plane_size(&self, plane: usize) -> (usize, usize) {
        let step = luma_step(plane) as u32;
        (self.width.div_ceil(step) as usize, self.height.div_ceil(step) as usize)
    }
}

/// Luma pixels per sample of a plane, across and down.
pub(super) fn luma_step(plane: usize) -> usize {
    if plane == 0 { 1 } else { 2 }
}

/// The planes of one 8-bit 4:2:0 Y'CbCr picture, to be drawn on in place.
pub struct Canvas<'a> {
    format: CanvasFormat,
    planes: [PlaneMut<'a>; 3],
}

impl<'a> Canvas<'a> {
    /// A canvas over planes Y', Cb and Cr, each with its stride (bytes from row to row).
    ///
    /// # Panics
    /// When a plane is too small for the format.
    pub fn new(format: CanvasFormat, planes: [(&'a mut [u8], usize); 3]) -> Self {
        let mut index = 0;
        let planes = planes.map(|(data, stride)| {
            let (width, height) = format.plane_size(index);
            index += 1;
            let needed = if height == 0 { 0 } else { (height - 1) * stride + width };
            assert!(stride >= width && data.len() >= needed, "a plane of {width}x{height} does not fit its buffer");
            PlaneMut { data, stride, width }
        });
        Self { format, planes }
    }

    /// A canvas over a frame of that format.
    ///
    /// # Panics
    /// When the frame is too small for the format.
    pub fn over(format: CanvasFormat, frame: &'a mut YuvFrame) -> Self {
        let (width, chroma_width) = (frame.width as usize, frame.chroma_size().0);
        let planes = [(&mut frame.y[..], width), (&mut frame.u[..], chroma_width), (&mut frame.v[..], chroma_width)];
        Self::new(format, planes)
    }

    /// Size and colour of the picture.
    pub fn format(&self) -> CanvasFormat {
        self.format
    }

    pub(super) fn plane(&mut self, index: usize) -> &mut PlaneMut<'a> {
        &mut self.planes[index]
    }
}

impl<'a> From<&'a mut YuvFrame> for Canvas<'a> {
    fn from(frame: &'a mut YuvFrame) -> Self {
        let format =
            CanvasFormat { width: frame.width, height: frame.height, matrix: Matrix::Bt709, range: Range::Limited };
        Self::over(format, frame)
    }
}

/// One 8-bit plane.
pub(super) struct PlaneMut<'a> {
    data: &'a mut [u8],
    stride: usize,
    width: usize,
}

impl PlaneMut<'_> {
    pub fn row(&mut self, y: usize) -> &mut [u8] {
        &mut self.data[y * self.stride..][..self.width]
    }
}
