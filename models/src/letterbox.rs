//! Letterboxing: a picture scaled into a network's input, its aspect kept, the rest filled with a colour.

use edits::{DetectedBox, RgbImage};
use resampling::{Filter, Picture, Resizer};

/// Where a picture lies in the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Placement {
    /// Size of the whole input.
    pub width: u32,
    pub height: u32,
    /// Size and top left corner of the scaled picture in it.
    inner: (u32, u32),
    left: u32,
    top: u32,
    picture: (u32, u32),
}

impl Placement {
    /// The longer side becomes `size`, both are padded up to `multiple`.
    pub fn by_longer_side(picture: (u32, u32), size: u32, multiple: u32) -> Self {
        let ratio = f64::from(size) / f64::from(picture.0.max(picture.1));
        let inner = scaled(picture, ratio);
        let (width, height) = (inner.0.next_multiple_of(multiple), inner.1.next_multiple_of(multiple));
        Self::centred(picture, inner, width, height)
    }

    /// As large as fits into an input of fixed size.
    pub fn into_fixed(picture: (u32, u32), width: u32, height: u32) -> Self {
        let ratio = (f64::from(width) / f64::from(picture.0)).min(f64::from(height) / f64::from(picture.1));
        let inner = scaled(picture, ratio);
        let inner = (inner.0.min(width), inner.1.min(height));
        Self::centred(picture, inner, width, height)
    }

    fn centred(picture: (u32, u32), inner: (u32, u32), width: u32, height: u32) -> Self {
        Self { width, height, inner, left: (width - inner.0) / 2, top: (height - inner.1) / 2, picture }
    }

    /// A person's box in picture pixels from corners in input pixels, clipped; none if nothing is left of it.
    pub fn to_picture(self, [left, top, right, bottom]: [f32; 4], confidence: f32) -> Option<DetectedBox> {
        let back = |at: f32, start: u32, inner: u32, picture: u32| {
            ((at - start as f32) * picture as f32 / inner as f32).clamp(0.0, picture as f32)
        };
        let across = |x: f32| back(x, self.left, self.inner.0, self.picture.0);
        let down = |y: f32| back(y, self.top, self.inner.1, self.picture.1);
        let (left, right, top, bottom) = (across(left), across(right), down(top), down(bottom));
        (right > left && bottom > top).then(|| DetectedBox {
            x: left,
            y: top,
            width: right - left,
            height: bottom - top,
            confidence,
            label: "person".to_owned(),
        })
    }
}

fn scaled(picture: (u32, u32), ratio: f64) -> (u32, u32) {
    let side = |length: u32| ((f64::from(length) * ratio).round() as u32).max(1);
    (side(picture.0), side(picture.1))
}

/// Draws letterboxed pictures, reusing its buffers.
pub(crate) struct Letterbox {
    resizer: Resizer,
    /// The scaled picture, without what surrounds it.
    inner: Vec<u8>,
    canvas: RgbImage,
}

impl Letterbox {
    pub fn new() -> Self {
        Self { resizer: Resizer::default(), inner: Vec::new(), canvas: RgbImage::new(1, 1) }
    }

    /// `picture` placed on a canvas of `colour`; the result is valid until the next call.
    pub fn draw(&mut self, picture: &RgbImage, placement: &Placement, colour: [u8; 3]) -> &RgbImage {
        if (self.canvas.width, self.canvas.height) != (placement.width, placement.height) {
            self.canvas = RgbImage::new(placement.width, placement.height);
        }
        self.canvas.data.as_chunks_mut::<3>().0.fill(colour);

        let (width, height) = placement.inner;
        let (row, stride) = (width as usize * 3, placement.width as usize * 3);
        self.inner.resize(row * height as usize, 0);
        let source = Picture { pixels: &*picture.data, width: picture.width, height: picture.height };
        self.resizer.rgb(&source, Picture { pixels: &mut self.inner, width, height }, Filter::Bilinear);

        let start = placement.top as usize * stride + placement.left as usize * 3;
        let rows = self.canvas.data[start..].chunks_mut(stride);
        for (target, source) in rows.zip(self.inner.chunks_exact(row)) {
            target[..row].copy_from_slice(source);
        }
        &self.canvas
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_come_back_to_where_they_were() {
        let placement = Placement::by_longer_side((810, 1440), 416, 32);
        assert_eq!((placement.width, placement.height), (256, 416));
        assert_eq!((placement.left, placement.inner), (11, (234, 416)));
        let found = placement.to_picture([11.0, 0.0, 245.0, 416.0], 0.5).unwrap();
        assert_eq!((found.x, found.y, found.width, found.height), (0.0, 0.0, 810.0, 1440.0));
        assert!(placement.to_picture([0.0, 0.0, 10.0, 416.0], 0.5).is_none(), "it lies in the padding");
    }

    #[test]
    fn a_picture_is_centred_on_the_filling_colour() {
        let mut picture = RgbImage::new(4, 2);
        picture.data.fill(200);
        let placement = Placement::into_fixed((4, 2), 8, 8);
        let mut letterbox = Letterbox::new();
        let canvas = letterbox.draw(&picture, &placement, [1, 2, 3]);
        assert_eq!(canvas.data[..3], [1, 2, 3]);
        let middle = (4 * 8 + 4) * 3;
        assert_eq!(canvas.data[middle..middle + 3], [200, 200, 200]);
        assert_eq!(canvas.data[(6 * 8) * 3..(6 * 8) * 3 + 3], [1, 2, 3]);
    }
}
