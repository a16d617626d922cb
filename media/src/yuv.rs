//! The encoder's pictures, and their way from and to RGB.

use edits::RgbImage;

use crate::colour::{FromRgb, Matrix, Range, ToRgb};

/// A picture as the encoder takes it: 8-bit Y'CbCr 4:2:0, planes without padding.
///
/// What this crate converts is BT.709 limited with chroma on the left; a frame copied from a source
/// ([`crate::Picture::to_frame`]) keeps the source's own meaning, which [`crate::StreamShape`] names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct YuvFrame {
    pub width: u32,
    pub height: u32,
    /// `height` rows of `width`.
    pub y: Vec<u8>,
    /// Half as many of each, rounded up.
    pub u: Vec<u8>,
    pub v: Vec<u8>,
}

impl YuvFrame {
    /// A black picture.
    pub fn new(width: u32, height: u32) -> Self {
        let (chroma_width, chroma_height) = chroma_size(width, height);
        Self {
            width,
            height,
            y: vec![16; width as usize * height as usize],
            u: vec![128; chroma_width * chroma_height],
            v: vec![128; chroma_width * chroma_height],
        }
    }

    /// Width and height of the chroma planes.
    pub fn chroma_size(&self) -> (usize, usize) {
        chroma_size(self.width, self.height)
    }
}

fn chroma_size(width: u32, height: u32) -> (usize, usize) {
    (width.div_ceil(2) as usize, height.div_ceil(2) as usize)
}

/// RGB to the encoder's picture. Chroma is the mean of two rows and, across, weighted 1:2:1 about the left sample.
pub fn to_yuv(image: &RgbImage) -> YuvFrame {
    let convert = FromRgb::new(Matrix::Bt709, Range::Limited);
    let mut out = YuvFrame::new(image.width, image.height);
    convert.luma(&image.data, &mut out.y);
    let (width, height) = (image.width as usize, image.height as usize);
    let (chroma_width, chroma_height) = out.chroma_size();
    let row_of = |y: usize| &image.data[y.min(height - 1) * width * 3..][..width * 3];
    let mut sums = vec![[0i32; 3]; width];
    for y in 0..chroma_height {
        let rows = row_of(2 * y).chunks_exact(3).zip(row_of(2 * y + 1).chunks_exact(3));
        for (sum, (above, below)) in sums.iter_mut().zip(rows) {
            *sum = std::array::from_fn(|c| i32::from(above[c]) + i32::from(below[c]));
        }
        for x in 0..chroma_width {
            let left = sums[(2 * x).saturating_sub(1)];
            let middle = sums[2 * x];
            let right = sums[(2 * x + 1).min(width - 1)];
            let sum = std::array::from_fn(|c| left[c] + 2 * middle[c] + right[c]);
            let (cb, cr) = convert.chroma(sum, 3);
            out.u[y * chroma_width + x] = cb;
            out.v[y * chroma_width + x] = cr;
        }
    }
    out
}

/// The encoder's picture (BT.709 limited) to RGB; chroma is interpolated linearly.
pub fn to_rgb(frame: &YuvFrame) -> RgbImage {
    let convert = ToRgb::new(Matrix::Bt709, Range::Limited);
    let (width, height) = (frame.width as usize, frame.height as usize);
    let mut image = RgbImage::new(frame.width, frame.height);
    let (mut cb, mut cr) = (vec![0; width], vec![0; width]);
    for y in 0..height {
        chroma_row(frame, &frame.u, y, &mut cb);
        chroma_row(frame, &frame.v, y, &mut cr);
        let row = &mut image.data[y * width * 3..][..width * 3];
        convert.convert(&frame.y[y * width..][..width], &cb, &cr, row);
    }
    image
}

/// One chroma plane at luma row `y`, in sixteenths down (3:1) and eighths across.
fn chroma_row(frame: &YuvFrame, plane: &[u8], y: usize, out: &mut [u8]) {
    let (width, height) = frame.chroma_size();
    let near = y / 2;
    let far = if y.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(height - 1) };
    let (near, far) = (&plane[near * width..][..width], &plane[far * width..][..width]);
    let at = |x: usize| 3 * u32::from(near[x]) + u32::from(far[x]);
    for (x, out) in out.iter_mut().enumerate() {
        let left = at(x / 2);
        let right = if x.is_multiple_of(2) { left } else { at((x / 2 + 1).min(width - 1)) };
        *out = ((left + right + 4) / 8) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rgb_survives_the_way_to_yuv_and_back() {
        let (width, height) = (64, 48);
        let mut image = RgbImage::new(width, height);
        for (i, pixel) in image.data.chunks_exact_mut(3).enumerate() {
            let (x, y) = (i % width as usize, i / width as usize);
            pixel.copy_from_slice(&[(x * 3 + 20) as u8, (y * 4 + 30) as u8, 200 - (x + y) as u8]);
        }
        let back = to_rgb(&to_yuv(&image));
        let worst = image.data.iter().zip(&back.data).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(worst <= Some(5), "worst difference {worst:?}");
    }

    #[test]
    fn primaries_have_their_code_values() {
        // BT.709-6: 75 % and 100 % bars in 8 bit.
        for (rgb, yuv) in [
            ([255, 255, 255], [235, 128, 128]),
            ([0, 0, 0], [16, 128, 128]),
            ([255, 0, 0], [63, 102, 240]),
            ([0, 255, 0], [173, 42, 26]),
            ([0, 0, 255], [32, 240, 118]),
        ] {
            let mut image = RgbImage::new(4, 4);
            image.data.chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&rgb));
            let frame = to_yuv(&image);
            assert_eq!([frame.y[5], frame.u[1], frame.v[1]], yuv, "{rgb:?}");
        }
    }

    #[test]
    fn odd_sizes_have_all_their_chroma() {
        let frame = to_yuv(&RgbImage::new(5, 3));
        assert_eq!((frame.u.len(), frame.v.len()), (6, 6));
        assert_eq!(to_rgb(&frame).data.len(), 45);
    }
}
