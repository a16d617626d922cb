//! Detection of people on footage and photographs.

use super::{DETECTOR, ONE_THREAD, asset, exact, frame, store, walkers};
use crate::{Detector, NumericProfile};
use edits::{DetectedBox, RgbImage};

fn detector(batch: usize) -> Detector {
    let profile = NumericProfile { batch, ..exact(DETECTOR) };
    Detector::load(store(), &profile, &ONE_THREAD).unwrap()
}

fn confident(boxes: &[DetectedBox], least: f32) -> Vec<&DetectedBox> {
    boxes.iter().filter(|found| found.confidence >= least).collect()
}

fn assert_orderly(boxes: &[DetectedBox], image: &RgbImage) {
    assert!(boxes.windows(2).all(|pair| pair[0].confidence >= pair[1].confidence), "by falling confidence");
    for found in boxes {
        assert!(found.confidence >= 0.1 && found.confidence <= 1.0 && found.label == "person");
        assert!(found.x >= 0.0 && found.y >= 0.0 && found.width > 0.0 && found.height > 0.0);
        assert!(found.x + found.width <= image.width as f32 && found.y + found.height <= image.height as f32);
    }
}

/// Intersection over union of a found box and an expected `x, y, width, height`.
fn overlap(found: &DetectedBox, [x, y, width, height]: [f32; 4]) -> f32 {
    let shared_width = ((found.x + found.width).min(x + width) - found.x.max(x)).max(0.0);
    let shared_height = ((found.y + found.height).min(y + height) - found.y.max(y)).max(0.0);
    let shared = shared_width * shared_height;
    shared / (found.width * found.height + width * height - shared)
}

fn assert_found(boxes: &[&DetectedBox], people: &[[f32; 4]]) {
    for &person in people {
        let best = boxes.iter().map(|found| overlap(found, person)).fold(0.0, f32::max);
        assert!(best > 0.6, "{person:?} is missed by {boxes:?}");
    }
}

/// Where the walkers of frame 400 are, by eye.
const WALKERS: [[f32; 4]; 3] = [[687.0, 300.0, 57.0, 110.0], [273.0, 199.0, 29.0, 86.0], [589.0, 140.0, 28.0, 63.0]];

#[test]
fn only_the_three_walkers_are_found() {
    let image = walkers("", 768, 576);
    let boxes = detector(1).detect(&[&image]).unwrap().remove(0);
    assert_orderly(&boxes, &image);
    assert_found(&confident(&boxes, 0.35)[..3], &WALKERS);
    assert_eq!(confident(&boxes, 0.5).len(), 3, "{:?}", confident(&boxes, 0.5));
}

#[test]
fn the_people_of_photographs_are_found() {
    let photographs: [(&str, u32, u32, &[[f32; 4]]); 2] = [
        (
            "bus.jpg",
            810,
            1080,
            &[[51.0, 396.0, 182.0, 508.0], [222.0, 405.0, 122.0, 450.0], [678.0, 400.0, 132.0, 478.0]],
        ),
        ("zidane.jpg", 1280, 720, &[[750.0, 42.0, 395.0, 675.0], [120.0, 200.0, 590.0, 515.0]]),
    ];
    for (name, width, height, people) in photographs {
        let image = frame(&asset(name), "null", width, height);
        let boxes = detector(1).detect(&[&image]).unwrap().remove(0);
        assert_orderly(&boxes, &image);
        let sure = confident(&boxes, 0.5);
        assert_found(&sure, people);
        assert_eq!(sure.len(), people.len(), "{name}: {sure:?}");
    }
}

#[test]
fn a_batch_gives_the_same_boxes_as_single_pictures() {
    let moments: Vec<RgbImage> =
        ["", ",hflip", ",eq=brightness=0.1"].map(|filter| walkers(filter, 768, 576)).into_iter().collect();
    let moments: Vec<&RgbImage> = moments.iter().collect();
    let mut one_by_one = detector(1);
    let expected: Vec<Vec<DetectedBox>> =
        moments.iter().map(|&image| one_by_one.detect(&[image]).unwrap().remove(0)).collect();
    // Three pictures in pairs: the last pair is filled up.
    let mut in_pairs = detector(2);
    in_pairs.warm(768, 576).unwrap();
    assert_eq!(in_pairs.detect(&moments).unwrap(), expected);
    assert_ne!(expected[0], expected[1]);
    assert!(in_pairs.detect(&[]).unwrap().is_empty());
}

#[test]
fn an_empty_scene_has_no_sure_person() {
    let mut grey = RgbImage::new(320, 240);
    grey.data.fill(128);
    let boxes = detector(1).detect(&[&grey]).unwrap().remove(0);
    assert!(confident(&boxes, 0.35).is_empty(), "{boxes:?}");
}
