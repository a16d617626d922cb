//! Upscaling through the public surface.

use super::{ONE_THREAD, SMALL_NET, exact, offered, people, profile_in, store};
use crate::canary::{picture, psnr};
use crate::{ModelError, NumericProfile, Upscaler};
use edits::RgbImage;

#[test]
fn a_batch_gives_the_same_bytes_as_single_pictures() {
    let pictures = people(48);
    let pictures: Vec<&RgbImage> = pictures.iter().collect();
    for offer in offered() {
        let single = profile_in(store(), SMALL_NET, offer.provider, offer.precision);
        let paired = NumericProfile { batch: 2, ..single.clone() };
        let mut one_by_one = Upscaler::load(store(), &single, &ONE_THREAD).unwrap();
        let mut in_pairs = Upscaler::load(store(), &paired, &ONE_THREAD).unwrap();
        assert_eq!((one_by_one.batch(), in_pairs.batch()), (1, 2));
        let expected = one_by_one.infer(&pictures).unwrap();
        // Three pictures in pairs: the last pair is filled up.
        assert_eq!(in_pairs.infer(&pictures).unwrap(), expected, "{} {}", offer.provider, offer.precision);
        // The same again: buffers and sessions are reused.
        assert_eq!(in_pairs.infer(&pictures[2..]).unwrap(), expected[2..], "{} {}", offer.provider, offer.precision);
    }
}

#[test]
fn shapes_come_and_go() {
    let mut upscaler = Upscaler::load(store(), &exact(SMALL_NET), &ONE_THREAD).unwrap();
    let first = upscaler.infer(&[&picture(20, 16)]).unwrap();
    assert_eq!((first[0].width, first[0].height), (80, 64));
    for width in 21..27 {
        upscaler.warm(width, 16).unwrap();
        let larger = upscaler.infer(&[&picture(width, 16)]).unwrap();
        assert_eq!(larger[0].width, 4 * width);
    }
    assert_eq!(upscaler.infer(&[&picture(20, 16)]).unwrap(), first);
    assert!(upscaler.infer(&[]).unwrap().is_empty());
}

#[test]
fn threads_work_side_by_side_and_agree() {
    let infer = || Upscaler::load(store(), &exact(SMALL_NET), &ONE_THREAD).unwrap().infer(&[&picture(40, 32)]).unwrap();
    let results: Vec<Vec<RgbImage>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(infer)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn the_upscaled_picture_is_the_picture() {
    let original = &people(96)[0];
    let mut upscaler = Upscaler::load(store(), &exact(SMALL_NET), &ONE_THREAD).unwrap();
    let upscaled = upscaler.infer(&[original]).unwrap().remove(0);
    // Each pixel's own place in the larger picture, whatever detail was added around it.
    let centre = |index: usize| {
        let (pixel, channel) = (index / 3, index % 3);
        let (x, y) = (pixel % 96, pixel / 96);
        f32::from(upscaled.data[((4 * y + 2) * 384 + 4 * x + 2) * 3 + channel])
    };
    let centres: Vec<f32> = (0..original.data.len()).map(centre).collect();
    let levels: Vec<f32> = original.data.iter().map(|&byte| f32::from(byte)).collect();
    let likeness = psnr(&levels, &centres, 255.0);
    assert!(likeness > 20.0, "{likeness:.1} dB");
}

#[test]
fn what_cannot_be_done_is_refused() {
    let mut upscaler = Upscaler::load(store(), &exact(SMALL_NET), &ONE_THREAD).unwrap();
    let mixed = upscaler.infer(&[&picture(20, 16), &picture(16, 20)]).unwrap_err();
    assert!(mixed.to_string().contains("in one call"), "{mixed}");

    let elsewhere = NumericProfile { device: "another processor".to_owned(), ..exact(SMALL_NET) };
    let refused = Upscaler::load(store(), &elsewhere, &ONE_THREAD).err().unwrap();
    assert!(matches!(refused, ModelError::ProfileMismatch { .. }));
    assert!(refused.to_string().contains("another processor"), "{refused}");
    crate::check_profile(store(), &exact(SMALL_NET), &ONE_THREAD).unwrap();
    let elsewhere = [
        elsewhere,
        NumericProfile { threads: 7, ..exact(SMALL_NET) },
        NumericProfile { runtime_version: "1.0".to_owned(), ..exact(SMALL_NET) },
        NumericProfile { model_sha256: "00".to_owned(), ..exact(SMALL_NET) },
    ];
    for profile in elsewhere {
        let refused = crate::check_profile(store(), &profile, &ONE_THREAD).unwrap_err();
        assert!(matches!(refused, ModelError::ProfileMismatch { .. }), "{profile:?}: {refused}");
    }

    let detector = Upscaler::load(store(), &exact(super::DETECTOR), &ONE_THREAD).err().unwrap();
    assert!(detector.to_string().contains("cannot be used as an upscaler"), "{detector}");
}
