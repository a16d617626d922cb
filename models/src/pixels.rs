//! Interleaved bytes to planar floats and back.

use edits::RgbImage;

/// A family's pixel format: channel order, and `(byte - mean) * factor`.
#[derive(Clone, Copy)]
pub(crate) struct Encoding {
    /// For each plane, which of R, G, B goes there.
    pub order: [usize; 3],
    pub mean: [f32; 3],
    pub factor: [f32; 3],
}

/// RGB in 0..1.
pub(crate) const UNIT: Encoding = Encoding { order: [0, 1, 2], mean: [0.0; 3], factor: [1.0 / 255.0; 3] };

/// Writes `image` as three planes of `width` x `height` into `planes`; what lies beyond the image repeats its last
/// column and row.
pub(crate) fn to_planes(image: &RgbImage, encoding: &Encoding, width: usize, height: usize, planes: &mut [f32]) {
    let (image_width, image_height) = (image.width as usize, image.height as usize);
    for (plane, pixels) in planes.chunks_exact_mut(width * height).enumerate() {
        let channel = encoding.order[plane];
        let (mean, factor) = (encoding.mean[plane], encoding.factor[plane]);
        for (y, row) in pixels.chunks_exact_mut(width).enumerate() {
            let source = y.min(image_height - 1) * image_width * 3;
            let bytes = &image.data[source..source + image_width * 3];
            for (value, rgb) in row.iter_mut().zip(bytes.as_chunks::<3>().0) {
                *value = (f32::from(rgb[channel]) - mean) * factor;
            }
            let last = row[image_width - 1];
            row[image_width..].fill(last);
        }
    }
}

/// Reads the top left `width` x `height` of three planes of `stride` columns, 0..1, rounded to the nearest byte;
/// what lies outside 0..1 is clamped.
pub(crate) fn from_planes(planes: &[f32], stride: usize, width: u32, height: u32) -> RgbImage {
    let mut image = RgbImage::new(width, height);
    let plane = planes.len() / 3;
    let (red, rest) = planes.split_at(plane);
    let (green, blue) = rest.split_at(plane);
    let columns = width as usize;
    for (y, row) in image.data.chunks_exact_mut(columns * 3).enumerate() {
        let span = y * stride..y * stride + columns;
        let (red, green, blue) = (&red[span.clone()], &green[span.clone()], &blue[span]);
        for (((rgb, r), g), b) in row.as_chunks_mut::<3>().0.iter_mut().zip(red).zip(green).zip(blue) {
            *rgb = [byte(*r), byte(*g), byte(*b)];
        }
    }
    image
}

fn byte(value: f32) -> u8 {
    // A float cast saturates, so only the rounding is ours.
    (value * 255.0 + 0.5) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(width: u32, height: u32) -> RgbImage {
        let mut image = RgbImage::new(width, height);
        for (index, value) in image.data.iter_mut().enumerate() {
            *value = (index * 7 % 256) as u8;
        }
        image
    }

    #[test]
    fn bytes_survive_the_way_there_and_back() {
        let image = numbered(5, 3);
        let mut planes = vec![0.0; 3 * 8 * 4];
        to_planes(&image, &UNIT, 8, 4, &mut planes);
        assert_eq!(from_planes(&planes, 8, 5, 3).data, image.data);
        // Padding repeats the edge.
        assert_eq!(planes[7], planes[4]);
        assert_eq!(planes[3 * 8..3 * 8 + 8], planes[2 * 8..2 * 8 + 8]);
    }

    #[test]
    fn values_are_rounded_and_clamped() {
        let levels = [-0.5, 0.4 / 255.0, 0.6 / 255.0, 254.6 / 255.0, 1.5, f32::NAN];
        assert_eq!(levels.map(byte), [0, 0, 1, 255, 255, 0]);
    }

    #[test]
    fn channels_can_be_swapped_and_normalised() {
        let mut image = RgbImage::new(1, 1);
        image.data = vec![10, 20, 30];
        let encoding = Encoding { order: [2, 1, 0], mean: [30.0, 10.0, 0.0], factor: [1.0, 0.5, 2.0] };
        let mut planes = [0.0; 3];
        to_planes(&image, &encoding, 1, 1, &mut planes);
        assert_eq!(planes, [0.0, 5.0, 20.0]);
    }
}
