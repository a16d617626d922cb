//! The crop along its path.

use edits::crop::{MIN_CROP, default_crop};
use edits::{CropKeyframe, CropPath};
use proptest::prelude::*;

const ASPECT: f64 = 9.0 / 16.0;
const FRAME: (u32, u32) = (1920, 1080);

fn keyframe(time: f64, x: f64, height: f64) -> CropKeyframe {
    CropKeyframe { time, x, y: 20.0, width: height * ASPECT, height }
}

#[test]
fn the_path_holds_outside_and_goes_through_its_keyframes() {
    let keyframes = [keyframe(1.0, 100.0, 900.0), keyframe(2.0, 300.0, 900.0), keyframe(4.0, 900.0, 900.0)];
    let path = CropPath::new(&keyframes, ASPECT, FRAME, 0.0);
    let x = |time: f64| path.at(time).x;
    assert_eq!((x(-1.0), x(1.0), x(2.0), x(4.0), x(99.0)), (100.0, 100.0, 300.0, 900.0, 900.0));
    // Uniform: u runs over a span whatever its length. At u = 1/2: (-100 + 9 * 300 + 9 * 900 - 900) / 16.
    assert!((x(3.0) - 612.5).abs() < 1e-9, "{}", x(3.0));
    assert_eq!(path.constant_height(), Some(900.0));
}

#[test]
fn the_height_counts_and_the_centre_stays() {
    let wide = CropKeyframe { time: 0.0, x: 400.0, y: 80.0, width: 545.0, height: 960.0 };
    let crop = CropPath::new(&[wide], ASPECT, FRAME, 0.0).at(0.0);
    assert_eq!((crop.x, crop.y, crop.width, crop.height), (402.5, 80.0, 540.0, 960.0));
}

#[test]
fn an_overshoot_is_shifted_back_inside() {
    let keyframes = [
        keyframe(0.0, 0.0, 900.0),
        keyframe(1.0, 1410.0, 900.0),
        keyframe(2.0, 1410.0, 900.0),
        keyframe(3.0, 0.0, 900.0),
    ];
    let path = CropPath::new(&keyframes, ASPECT, FRAME, 0.0);
    let crop = path.at(1.5);
    assert_eq!((crop.x, crop.width, crop.height), (1920.0 - 506.25, 506.25, 900.0));
}

#[test]
fn without_keyframes_it_is_the_largest_centred_crop() {
    let crop = CropPath::new(&[], ASPECT, FRAME, 0.0).at(3.0);
    assert_eq!((crop.x, crop.y, crop.width, crop.height), (656.25, 0.0, 607.5, 1080.0));
    let wide = CropPath::new(&[], 4.0, FRAME, 0.0).at(3.0);
    assert_eq!((wide.x, wide.y, wide.width, wide.height), (0.0, 300.0, 1920.0, 480.0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_crop_is_always_inside_and_of_its_aspect(
        keyframes in prop::collection::vec((0.01..3.0, 0.0..1.0, 0.0..1.0, 16.0..1081.0), 0..8),
        aspect in 0.2..5.0, at in 0.0..1.2,
    ) {
        let mut time = 0.0;
        let keyframes: Vec<CropKeyframe> = keyframes.into_iter().map(|(step, x, y, height)| {
            time += step;
            let width = height * aspect;
            CropKeyframe { time, x: x * (1920.0 - width), y: y * (1080.0 - height), width, height }
        }).collect();
        let crop = CropPath::new(&keyframes, aspect, FRAME, 0.0).at(at * time);
        prop_assert!(crop.x >= 0.0 && crop.y >= 0.0 && crop.height >= MIN_CROP - 1e-9, "{:?}", crop);
        prop_assert!(crop.x + crop.width <= 1920.0 + 1e-9 && crop.y + crop.height <= 1080.0 + 1e-9, "{:?}", crop);
        prop_assert!((crop.width / crop.height / aspect - 1.0).abs() < 1e-9);
    }

    #[test]
    fn the_default_crop_is_the_largest_without_black_corners(
        width in 100.0..4000.0, height in 100.0..4000.0, aspect in 0.1..10.0, rotation in -45.0..45.0,
    ) {
        let fits = |scale: f64| {
            let crop = default_crop((width, height), aspect, rotation);
            let (half_w, half_h) = (crop.width * scale / 2.0, crop.height * scale / 2.0);
            let (sin, cos) = f64::to_radians(rotation).sin_cos();
            [(half_w, half_h), (half_w, -half_h)].into_iter().all(|(x, y)| {
                let turned_back = (x * cos - y * sin, x * sin + y * cos);
                let inside = |(x, y): (f64, f64)| x.abs() <= width / 2.0 && y.abs() <= height / 2.0;
                inside((x, y)) && inside(turned_back)
            })
        };
        prop_assert!(fits(1.0 - 1e-9));
        prop_assert!(!fits(1.0 + 1e-6));
    }
}
