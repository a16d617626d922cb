//! Figures that conversion and reduced precision must reach.

use super::{DETECTOR, LARGE_NET, ONE_THREAD, SMALL_NET, exact, offered, people, profile_in, root, store};
use crate::choose::{LEAST_PRECISION_DB, likeness};
use crate::{Detector, Precision, Upscaler, canary};
use edits::RgbImage;

/// The converted network in fp32 against ncnn running the published one (`golden/make_golden.py`), in dB.
fn likeness_to_ncnn(model: &str) -> f64 {
    let golden = root().join("golden");
    let codes = std::fs::read(golden.join(format!("{model}.u16"))).unwrap();
    let level = |code: &[u8; 2]| f32::from(u16::from_le_bytes(*code)) / 65535.0 * 2.0 - 0.5;
    let expected: Vec<f32> = codes.as_chunks::<2>().0.iter().map(level).collect();
    let data = std::fs::read(golden.join("input.rgb")).unwrap();
    let picture = RgbImage { width: 32, height: 24, data };
    let outputs = Upscaler::load(store(), &exact(model), &ONE_THREAD).unwrap().raw(&picture).unwrap();
    assert_eq!(outputs[0].len(), expected.len());
    canary::psnr(&expected, &outputs[0], 1.0)
}

#[test]
fn the_small_network_equals_ncnns() {
    let likeness = likeness_to_ncnn(SMALL_NET);
    println!("{SMALL_NET} against ncnn: {likeness:.1} dB");
    assert!(likeness >= 60.0, "{likeness:.1} dB");
}

#[test]
fn the_large_network_equals_ncnns() {
    let likeness = likeness_to_ncnn(LARGE_NET);
    println!("{LARGE_NET} against ncnn: {likeness:.1} dB");
    assert!(likeness >= 60.0, "{likeness:.1} dB");
}

/// Every offered provider and precision against fp32 on ONNX Runtime's own kernels, on pictures of people.
fn compare_offers(model: &str, raw: impl Fn(&crate::NumericProfile, &[RgbImage]) -> Vec<Vec<Vec<f32>>>, side: u32) {
    let pictures = people(side);
    let reference = raw(&exact(model), &pictures);
    for offer in offered() {
        let profile = profile_in(store(), model, offer.provider, offer.precision);
        let outputs = raw(&profile, &pictures);
        for (wanted, got) in reference.iter().zip(&outputs) {
            let likeness = likeness(wanted, got);
            println!("{model} {} {}: {likeness:.1} dB", offer.provider, offer.precision);
            let least = if offer.precision == Precision::Fp32 { 60.0 } else { LEAST_PRECISION_DB };
            assert!(likeness >= least, "{} {}: {likeness:.1} dB", offer.provider, offer.precision);
        }
    }
}

fn compare_upscalers(model: &str, side: u32) {
    let raw = |profile: &crate::NumericProfile, pictures: &[RgbImage]| {
        let mut upscaler = Upscaler::load(store(), profile, &ONE_THREAD).unwrap();
        pictures.iter().map(|picture| upscaler.raw(picture).unwrap()).collect()
    };
    compare_offers(model, raw, side);
}

#[test]
fn the_small_network_is_alike_on_everything_offered() {
    compare_upscalers(SMALL_NET, 96);
}

#[test]
fn the_large_network_is_alike_on_everything_offered() {
    compare_upscalers(LARGE_NET, 32);
}

#[test]
fn the_detectors_exact_providers_are_alike() {
    let pictures = people(160);
    let mut reference = Detector::load(store(), &exact(DETECTOR), &ONE_THREAD).unwrap();
    for offer in offered() {
        let profile = profile_in(store(), DETECTOR, offer.provider, offer.precision);
        let mut detector = Detector::load(store(), &profile, &ONE_THREAD).unwrap();
        for picture in &pictures {
            let likeness = likeness(&reference.raw(picture).unwrap(), &detector.raw(picture).unwrap());
            println!("{DETECTOR} {} {}: {likeness:.1} dB", offer.provider, offer.precision);
            // Reduced precision is compared again when a profile is chosen and left out if it is too far off.
            assert!(offer.precision != Precision::Fp32 || likeness >= 60.0, "{}: {likeness:.1} dB", offer.provider);
        }
    }
}

#[test]
fn every_model_passes_its_canary_on_everything_offered() {
    for offer in offered() {
        for model in [SMALL_NET, LARGE_NET] {
            let profile = profile_in(store(), model, offer.provider, offer.precision);
            Upscaler::load(store(), &profile, &ONE_THREAD).unwrap().canary().unwrap();
        }
        let profile = profile_in(store(), DETECTOR, offer.provider, offer.precision);
        Detector::load(store(), &profile, &ONE_THREAD).unwrap().canary().unwrap();
    }
}
