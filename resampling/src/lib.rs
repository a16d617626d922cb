//! Pictures scaled by convolution, with the library's SIMD code.
//!
//! The library has code for 30 precisions of each kind of pixel, in generic functions that every crate which calls them
//! compiles for itself, and every unit test again: three quarters of the code of `models` were these. Here they are
//! compiled once, for the three kinds that there are.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{InnerPixel, U8, U8x3, U16x3};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions};

/// The shape of the convolution kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// The average of the area.
    Box,
    /// A triangle, widened when shrinking.
    Bilinear,
    /// Lanczos with 3 lobes, widened when shrinking.
    Lanczos3,
}

/// Pixels without padding, row by row.
#[derive(Debug)]
pub struct Picture<T> {
    pub pixels: T,
    pub width: u32,
    pub height: u32,
}

/// The part of a source that is scaled, in pixels: edges of pixels are whole numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crop {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

/// Scales pictures, reusing its buffers.
#[derive(Default)]
pub struct Resizer(fast_image_resize::Resizer);

impl Resizer {
    /// Fills `target` with the part of one plane of bytes.
    ///
    /// # Panics
    /// When the part leaves the source, or a picture has fewer pixels than its size says.
    pub fn plane(&mut self, source: &Picture<&[u8]>, crop: Crop, target: Picture<&mut [u8]>, filter: Filter) {
        let options = options(filter).crop(crop.left, crop.top, crop.width, crop.height);
        self.resize::<U8>(bytes(source), writable(target), &options);
    }

    /// Fills `target` with the whole source, 3 bytes a pixel in both.
    ///
    /// # Panics
    /// When a picture has fewer pixels than its size says.
    pub fn rgb(&mut self, source: &Picture<&[u8]>, target: Picture<&mut [u8]>, filter: Filter) {
        self.resize::<U8x3>(bytes(source), writable(target), &options(filter));
    }

    /// Fills `target` with the whole source, 3 numbers a pixel in both.
    ///
    /// # Panics
    /// When a picture has fewer pixels than its size says.
    pub fn rgb16(&mut self, source: &Picture<&[U16x3]>, target: Picture<&mut [U16x3]>, filter: Filter) {
        let from = TypedImageRef::new(source.width, source.height, source.pixels).expect(SIZE);
        let to = TypedImage::from_pixels_slice(target.width, target.height, target.pixels).expect(SIZE);
        self.resize(from, to, &options(filter));
    }

    fn resize<P: InnerPixel + PixelTrait>(
        &mut self,
        source: TypedImageRef<'_, P>,
        mut target: TypedImage<'_, P>,
        options: &ResizeOptions,
    ) {
        self.0.resize_typed(&source, &mut target, options).expect("the part lies within the source");
    }
}

/// Three numbers of 16 bits.
pub type Rgb16 = U16x3;

const SIZE: &str = "a picture has the pixels that its size says";

fn bytes<'a, P: InnerPixel>(source: &Picture<&'a [u8]>) -> TypedImageRef<'a, P> {
    TypedImageRef::from_buffer(source.width, source.height, source.pixels).expect(SIZE)
}

fn writable<P: InnerPixel>(target: Picture<&mut [u8]>) -> TypedImage<'_, P> {
    TypedImage::from_buffer(target.width, target.height, target.pixels).expect(SIZE)
}

fn options(filter: Filter) -> ResizeOptions {
    let filter = match filter {
        Filter::Box => FilterType::Box,
        Filter::Bilinear => FilterType::Bilinear,
        Filter::Lanczos3 => FilterType::Lanczos3,
    };
    ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_the_average_of_its_pixels() {
        let source = Picture { pixels: &[0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110][..], width: 2, height: 2 };
        let mut out = [0; 3];
        Resizer::default().rgb(&source, Picture { pixels: &mut out, width: 1, height: 1 }, Filter::Box);
        assert_eq!(out, [45, 55, 65]);
    }

    #[test]
    fn a_part_is_taken_where_it_lies() {
        let source = Picture { pixels: &[1, 2, 3, 4, 5, 6, 7, 8, 9][..], width: 3, height: 3 };
        let crop = Crop { left: 1.0, top: 1.0, width: 2.0, height: 1.0 };
        let mut out = [0; 2];
        Resizer::default().plane(&source, crop, Picture { pixels: &mut out, width: 2, height: 1 }, Filter::Lanczos3);
        assert_eq!(out, [5, 6]);
    }

    #[test]
    fn sixteen_bits_stay_sixteen_bits() {
        let (source, mut out) = ([Rgb16::new([1000, 40_000, 65_535]); 4], [Rgb16::default(); 9]);
        let from = Picture { pixels: &source[..], width: 2, height: 2 };
        Resizer::default().rgb16(&from, Picture { pixels: &mut out, width: 3, height: 3 }, Filter::Lanczos3);
        assert!(out.iter().all(|pixel| pixel.0 == source[0].0));
    }

    #[test]
    #[should_panic(expected = "a picture has the pixels that its size says")]
    fn a_picture_with_too_few_pixels_is_a_mistake() {
        let mut out = [0; 2];
        let source = Picture { pixels: &[0; 12][..], width: 2, height: 2 };
        Resizer::default().rgb(&source, Picture { pixels: &mut out, width: 1, height: 1 }, Filter::Bilinear);
    }
}
