//! The canary: a generated picture with a recorded answer, run before a device gets work.
//!
//! The manifest holds samples of each network's outputs for it, as computed in fp32. Any provider and precision worth
//! offering comes within a tolerance of them; a wrong file, a broken driver or a failing GPU does not.

use crate::network::{Network, Output};
use crate::{ModelError, ModelKind};
use edits::RgbImage;

pub(crate) const WIDTH: u32 = 64;
pub(crate) const HEIGHT: u32 = 48;

/// Samples taken of each output.
const SAMPLES: u64 = 24;

/// Least PSNR of the samples against the manifest's, in dB. bfloat16 reaches 50 and more; a network fed wrongly is
/// below 25.
const LEAST_SAMPLES_DB: f64 = 35.0;

/// Least PSNR of an upscaled picture, averaged down again, against the picture, in dB: holds for any sound
/// super-resolution network.
const LEAST_LIKENESS_DB: f64 = 20.0;

/// Gradients, a disc, bars and a checkerboard: smooth parts, curved edges and fine detail in all channels.
pub(crate) fn picture(width: u32, height: u32) -> RgbImage {
    let mut image = RgbImage::new(width, height);
    let (columns, rows) = (width as i64, height as i64);
    for (index, pixel) in image.data.as_chunks_mut::<3>().0.iter_mut().enumerate() {
        let (x, y) = (index as i64 % columns, index as i64 / columns);
        let (from_left, from_top) = (x * 255 / columns, y * 255 / rows);
        let (dx, dy) = (2 * x - columns, 2 * y - rows);
        let in_disc = dx * dx + dy * dy < rows * rows / 3;
        let in_bars = x * 4 > columns * 3 && (y / 4) % 2 == 0;
        let in_checks = x * 4 < columns && y * 2 > rows && (x / 2 + y / 2) % 2 == 0;
        let value = match (in_disc, in_bars || in_checks) {
            (true, _) => [220, 170 - from_top / 4, 60],
            (_, true) => [20, 40, from_top],
            _ => [from_left, (from_left + from_top) / 2, 255 - from_top],
        };
        *pixel = value.map(|level| level as u8);
    }
    image
}

/// All outputs, cut to the first picture of the batch.
pub(crate) fn first_of_batch(outputs: &[Output<'_>], batch: usize) -> Vec<Vec<f32>> {
    outputs.iter().map(|output| output.data[..output.data.len() / batch].to_vec()).collect()
}

/// The samples that a manifest records.
pub(crate) fn samples(outputs: &[Vec<f32>]) -> Vec<f32> {
    // Multiples of the golden ratio spread evenly without keeping step with rows or columns.
    let place = |index: u64| index.wrapping_mul(0x9E37_79B9) & 0xFFFF_FFFF;
    let of_one = |output: &Vec<f32>| {
        let length = output.len() as u64;
        (1..=SAMPLES).map(|index| output[((place(index) * length) >> 32) as usize]).collect::<Vec<_>>()
    };
    outputs.iter().flat_map(of_one).collect()
}

/// Checks a network's outputs for the canary picture against the manifest.
pub(crate) fn check(network: &Network, outputs: &[Vec<f32>]) -> Result<(), ModelError> {
    if outputs.iter().flatten().any(|value| !value.is_finite()) {
        return Err(wrong(network, "the output holds values that are no numbers".to_owned()));
    }
    let expected = &network.entry.canary;
    if expected.is_empty() {
        return Ok(());
    }
    let actual = samples(outputs);
    if actual.len() != expected.len() {
        return Err(wrong(network, format!("{} samples, the manifest has {}", actual.len(), expected.len())));
    }
    match psnr(expected, &actual, peak(expected)) {
        likeness if likeness >= LEAST_SAMPLES_DB => Ok(()),
        likeness => Err(wrong(
            network,
            format!("{likeness:.1} dB from the recorded answer, at least {LEAST_SAMPLES_DB} is wanted"),
        )),
    }
}

/// Checks that an upscaled picture, averaged down again, is still the picture.
pub(crate) fn check_upscaled(network: &Network, picture: &RgbImage, upscaled: &RgbImage) -> Result<(), ModelError> {
    let original: Vec<f32> = picture.data.iter().map(|&byte| f32::from(byte)).collect();
    let likeness = psnr(&original, &averaged_down(upscaled, upscaled.width / picture.width), 255.0);
    if likeness >= LEAST_LIKENESS_DB {
        return Ok(());
    }
    debug_assert_eq!(network.entry.family.kind(), ModelKind::Upscaler);
    Err(wrong(
        network,
        format!("the upscaled picture is {likeness:.1} dB from what was fed, at least {LEAST_LIKENESS_DB} is wanted"),
    ))
}

fn wrong(network: &Network, detail: String) -> ModelError {
    ModelError::Canary {
        model: network.entry.name.clone(),
        provider: network.profile.provider.to_string(),
        precision: network.profile.precision.to_string(),
        detail,
    }
}

fn averaged_down(image: &RgbImage, factor: u32) -> Vec<f32> {
    let (factor, stride) = (factor as usize, image.width as usize * 3);
    let (columns, rows) = (image.width as usize / factor, image.height as usize / factor);
    let mut averages = Vec::with_capacity(columns * rows * 3);
    for row in 0..rows {
        for value in 0..columns * 3 {
            let (column, channel) = (value / 3, value % 3);
            let corner = row * factor * stride + column * factor * 3 + channel;
            let block = (0..factor).flat_map(|y| (0..factor).map(move |x| corner + y * stride + x * 3));
            let sum: f32 = block.map(|at| f32::from(image.data[at])).sum();
            averages.push(sum / (factor * factor) as f32);
        }
    }
    averages
}

/// The largest magnitude of a reference, at least 1: the scale of its PSNR.
pub(crate) fn peak(reference: &[f32]) -> f32 {
    reference.iter().fold(1.0, |largest, value| value.abs().max(largest))
}

/// Peak signal-to-noise ratio in dB; infinite for equal tensors.
pub(crate) fn psnr(reference: &[f32], actual: &[f32], peak: f32) -> f64 {
    let squares = reference.iter().zip(actual).map(|(a, b)| f64::from(a - b).powi(2));
    let mean = squares.sum::<f64>() / reference.len() as f64;
    10.0 * (f64::from(peak).powi(2) / mean).log10()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_always_the_same() {
        // The manifest's samples belong to these very pixels.
        let sum = crate::checksum::sha256(&picture(WIDTH, HEIGHT).data);
        assert_eq!(&sum[..8], "be989eb4");
    }

    #[test]
    fn psnr_is_by_its_definition() {
        assert!((psnr(&[0.0, 1.0], &[0.1, 0.9], 1.0) - 20.0).abs() < 1e-5);
        assert_eq!(psnr(&[0.5], &[0.5], 1.0), f64::INFINITY);
    }

    #[test]
    fn averaging_down_inverts_repeating() {
        let small = picture(12, 8);
        let mut large = RgbImage::new(24, 16);
        for (index, pixel) in large.data.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            let at = (index / 24 / 2 * 12 + index % 24 / 2) * 3;
            pixel.copy_from_slice(&small.data[at..at + 3]);
        }
        let original: Vec<f32> = small.data.iter().map(|&byte| f32::from(byte)).collect();
        assert_eq!(averaged_down(&large, 2), original);
    }
}
