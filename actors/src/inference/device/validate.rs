//! Whether a device's answers can be what was asked for: a driver in trouble may return anything.

use edits::{DetectedBox, RgbImage};

use crate::inference::queue::{Output, Task, TaskKind};

/// More boxes than these no detector answers for a picture, and no longer label for a box.
pub const MOST_BOXES: usize = 1000;
pub const MOST_LABEL_BYTES: usize = 64;

/// Checks number, kind and size of a batch's answers. `scale`: how many times as large the model makes a picture.
///
/// # Errors
/// What is wrong, for the log.
pub fn check(task: &Task, scale: u32, images: &[&RgbImage], answers: &[Output]) -> Result<(), String> {
    if answers.len() != images.len() {
        return Err(format!("{} answers for {} frames", answers.len(), images.len()));
    }
    images.iter().zip(answers).try_for_each(|(image, answer)| match (task.kind, answer) {
        (TaskKind::Upscale, Output::Image(upscaled)) => check_picture(image, scale, upscaled),
        (TaskKind::Detect, Output::Boxes(boxes)) if boxes.len() > MOST_BOXES => {
            Err(format!("{} boxes in one picture", boxes.len()))
        }
        (TaskKind::Detect, Output::Boxes(boxes)) => boxes.iter().try_for_each(|found| check_box(image, found)),
        (TaskKind::Upscale, Output::Boxes(_)) => Err("boxes where a picture was asked for".to_owned()),
        (TaskKind::Detect, Output::Image(_)) => Err("a picture where boxes were asked for".to_owned()),
    })
}

fn check_picture(image: &RgbImage, scale: u32, upscaled: &RgbImage) -> Result<(), String> {
    let wanted = (image.width * scale, image.height * scale);
    let whole = upscaled.data.len() == wanted.0 as usize * wanted.1 as usize * 3;
    if (upscaled.width, upscaled.height) == wanted && whole {
        return Ok(());
    }
    let RgbImage { width, height, data } = upscaled;
    Err(format!(
        "a picture of {width}x{height} with {} bytes where {}x{} was asked for",
        data.len(),
        wanted.0,
        wanted.1
    ))
}

/// Rounding may put an edge a little outside.
const SLACK: f32 = 1.0;

fn check_box(image: &RgbImage, found: &DetectedBox) -> Result<(), String> {
    let inside =
        |from: f32, length: f32, side: u32| from >= -SLACK && length >= 0.0 && from + length <= side as f32 + SLACK;
    if found.label.len() > MOST_LABEL_BYTES {
        return Err(format!("a label of {} bytes", found.label.len()));
    }
    let sure = (0.0..=1.0).contains(&found.confidence);
    // Comparisons with NaN are false.
    if sure && inside(found.x, found.width, image.width) && inside(found.y, found.height, image.height) {
        return Ok(());
    }
    Err(format!("an impossible box in a picture of {}x{}: {found:?}", image.width, image.height))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::inference::profile::ModelProfile;

    fn verdict(kind: TaskKind, answers: &[Output]) -> Result<(), String> {
        let task = Task { kind, profile: Arc::new(ModelProfile::simulated("net")) };
        check(&task, 4, &[&RgbImage::new(20, 10)], answers)
    }

    fn found(x: f32, width: f32, confidence: f32) -> Output {
        Output::Boxes(vec![DetectedBox { x, y: 0.0, width, height: 5.0, confidence, label: "person".into() }])
    }

    #[test]
    fn what_was_asked_for_passes() {
        verdict(TaskKind::Upscale, &[Output::Image(RgbImage::new(80, 40))]).unwrap();
        verdict(TaskKind::Detect, &[found(0.0, 20.0, 0.9)]).unwrap();
        verdict(TaskKind::Detect, &[Output::Boxes(Vec::new())]).unwrap();
    }

    #[test]
    fn another_number_kind_or_size_does_not() {
        let right = || Output::Image(RgbImage::new(80, 40));
        let cut = RgbImage { data: vec![0; 5], ..RgbImage::new(80, 40) };
        for wrong in [vec![], vec![right(), right()], vec![Output::Image(RgbImage::new(20, 10))]] {
            assert!(verdict(TaskKind::Upscale, &wrong).is_err(), "{wrong:?}");
        }
        assert!(verdict(TaskKind::Upscale, &[Output::Image(cut)]).is_err());
        assert!(verdict(TaskKind::Upscale, &[found(0.0, 1.0, 0.5)]).is_err());
        assert!(verdict(TaskKind::Detect, &[right()]).is_err());
    }

    #[test]
    fn too_many_boxes_and_long_labels_do_not() {
        let one =
            |label: &str| DetectedBox { x: 0.0, y: 0.0, width: 1.0, height: 1.0, confidence: 0.5, label: label.into() };
        verdict(TaskKind::Detect, &[Output::Boxes(vec![one(&"x".repeat(MOST_LABEL_BYTES)); MOST_BOXES])]).unwrap();
        assert!(verdict(TaskKind::Detect, &[Output::Boxes(vec![one("x"); MOST_BOXES + 1])]).is_err());
        assert!(verdict(TaskKind::Detect, &[Output::Boxes(vec![one(&"x".repeat(MOST_LABEL_BYTES + 1))])]).is_err());
    }

    #[test]
    fn impossible_boxes_do_not() {
        for (x, width, confidence) in
            [(f32::NAN, 1.0, 0.5), (0.0, f32::INFINITY, 0.5), (0.0, 30.0, 0.5), (-9.0, 5.0, 0.5), (0.0, 5.0, 1.5)]
        {
            assert!(verdict(TaskKind::Detect, &[found(x, width, confidence)]).is_err(), "{x} {width} {confidence}");
        }
    }
}
