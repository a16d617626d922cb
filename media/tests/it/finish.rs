//! Fidelity: from the model alone to what was filmed.

use std::sync::Arc;

use crate::common::{psnr, rate, rect};
use edits::RgbImage;
use media::testing::StampedVideo;
use media::{Cropper, Finisher, FrameDecoder, build_index};

/// A filmed crop with texture.
fn crop() -> RgbImage {
    let mut image = RgbImage::new(120, 160);
    for (i, pixel) in image.data.chunks_exact_mut(3).enumerate() {
        let (x, y) = ((i % 120) as f64, (i / 120) as f64);
        let texture = 25.0 * ((x * 1.3).sin() * (y * 0.9).cos());
        let shade = 110.0 + 50.0 * (x / 40.0).sin();
        pixel.copy_from_slice(&[(shade + texture) as u8, (shade - texture * 0.5 + 20.0) as u8, (90.0 + texture) as u8]);
    }
    image
}

/// What a model that smooths and shifts colours would make of it: a quarter of the detail, twice the size.
fn model(crop: &RgbImage) -> RgbImage {
    let mut finisher = Finisher::new();
    let small = finisher.finish(crop, crop, 30, 40, 0.0);
    let mut smooth = finisher.finish(&small, &small, 240, 320, 0.0);
    smooth.data.iter_mut().for_each(|v| *v = v.saturating_add(4));
    smooth
}

#[test]
fn fidelity_goes_from_the_model_to_what_was_filmed() {
    let crop = crop();
    let model = model(&crop);
    let mut finisher = Finisher::new();
    assert_eq!(finisher.finish(&model, &crop, 240, 320, 0.0), model, "fidelity 0 is the model alone");
    let mut last = 0.0;
    for fidelity in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let out = finisher.finish(&model, &crop, 240, 320, fidelity);
        // Averaging pairs is the area reduction to the crop's size.
        let reduced: Vec<u8> = (0..160 * 120 * 3)
            .map(|i| {
                let (c, x, y) = (i % 3, i / 3 % 120, i / 360);
                let at = |dx: usize, dy: usize| u32::from(out.data[((2 * y + dy) * 240 + 2 * x + dx) * 3 + c]);
                ((at(0, 0) + at(1, 0) + at(0, 1) + at(1, 1) + 2) / 4) as u8
            })
            .collect();
        let close = psnr(&reduced, &crop.data);
        println!("fidelity {fidelity}: {close:.1} dB against the crop");
        assert!(close > last, "{fidelity}: {close} after {last}");
        last = close;
    }
    assert!(last >= 32.0, "{last}");
}

#[test]
fn any_size_of_model_result_is_brought_to_the_output() {
    let crop = crop();
    let mut finisher = Finisher::new();
    for (width, height) in [(480, 640), (100, 133), (810, 1080)] {
        let model = finisher.finish(&crop, &crop, width, height, 0.0);
        let out = finisher.finish(&model, &crop, 300, 400, 0.5);
        assert_eq!((out.width, out.height, out.data.len()), (300, 400, 360_000));
    }
}

/// Cropping to RGB and straight to the encoder's planes give the same picture.
#[test]
fn both_ways_to_the_encoder_agree() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("source.mp4");
    StampedVideo::new(640, 360, rate(25, 1), 2).write(&path).unwrap();
    let picture = FrameDecoder::open(&path, Arc::new(build_index(&path).unwrap()), 1).unwrap().frame(1).unwrap();
    let mut cropper = Cropper::new();
    let crop = rect(200.3, 10.7, 190.0, 340.0);
    let direct = cropper.yuv(&picture, &crop, 0.0, 380, 680);
    let detour = media::to_yuv(&cropper.rgb(&picture, &crop, 0.0, 380, 680));
    assert!(psnr(&direct.y, &detour.y) > 40.0, "{}", psnr(&direct.y, &detour.y));
    assert!(psnr(&direct.u, &detour.u) > 40.0 && psnr(&direct.v, &detour.v) > 40.0);
    let there_and_back = media::to_yuv(&media::to_rgb(&direct));
    assert!(psnr(&direct.y, &there_and_back.y) > 45.0);
}
