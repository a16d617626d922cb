//! Person detection: pictures in, boxes out.

mod nanodet;
mod suppression;
mod yolov8;

use crate::letterbox::{Letterbox, Placement};
use crate::manifest::Family;
use crate::network::{Network, Output, Shape};
use crate::pixels::{Encoding, UNIT, to_planes};
use crate::upscaler::common_size;
use crate::{DeviceKind, ModelError, ModelKind, ModelStore, NumericProfile, canary};
use edits::{DetectedBox, RgbImage};

/// Boxes below this confidence are never reported.
const LEAST_CONFIDENCE: f32 = 0.1;

/// COCO's first class is the person.
const PERSON: usize = 0;

/// Corners (left, top, right, bottom) in input pixels, and the confidence.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Candidate {
    corners: [f32; 4],
    confidence: f32,
}

/// A loaded detection model (families `nanodet` and `yolov8`).
pub struct Detector {
    network: Network,
    letterbox: Letterbox,
}

impl Detector {
    /// Loads the profile's model on `device`.
    ///
    /// # Errors
    /// The file is missing or corrupt, or the profile was fixed for another file, runtime or hardware.
    pub fn load(store: &ModelStore, profile: &NumericProfile, device: &DeviceKind) -> Result<Self, ModelError> {
        let entry = store.entry(&profile.model)?;
        if entry.family.kind() != ModelKind::Detector {
            return Err(ModelError::WrongKind {
                model: entry.name.clone(),
                family: entry.family.name(),
                wanted: "a detector",
            });
        }
        Ok(Self { network: Network::load(store, profile, device)?, letterbox: Letterbox::new() })
    }

    /// Pictures that one run takes at once.
    pub fn batch(&self) -> usize {
        self.network.batch()
    }

    pub fn profile(&self) -> &NumericProfile {
        &self.network.profile
    }

    /// Builds the session for pictures of this size ahead of the first of them.
    pub fn warm(&mut self, width: u32, height: u32) -> Result<(), ModelError> {
        let placement = self.placement((width, height));
        self.network.warm(self.shape(&placement))
    }

    /// Finds the persons on each of `images`, which must all have one size. Boxes are in picture pixels, clipped to
    /// the picture, by falling confidence, from confidence 0.1.
    pub fn detect(&mut self, images: &[&RgbImage]) -> Result<Vec<Vec<DetectedBox>>, ModelError> {
        let Some(size) = common_size(&self.network.entry.name, images)? else {
            return Ok(Vec::new());
        };
        let placement = self.placement(size);
        let mut results = Vec::with_capacity(images.len());
        for group in images.chunks(self.batch()) {
            let (family, iou) = (self.network.entry.family, self.network.entry.iou);
            let input_size = (placement.width as usize, placement.height as usize);
            let name = self.network.entry.name.clone();
            let found = self.run(group, &placement, |outputs| {
                let broken = |detail: String| ModelError::inference("reading the boxes", &name, detail);
                let one = |index: usize| {
                    let candidates = decode(family, outputs, index, input_size).map_err(broken)?;
                    let kept = suppression::strongest(candidates, iou);
                    Ok(kept.into_iter().filter_map(|c| placement.to_picture(c.corners, c.confidence)).collect())
                };
                (0..group.len()).map(one).collect::<Result<Vec<_>, ModelError>>()
            })?;
            results.extend(found);
        }
        Ok(results)
    }

    /// Runs a generated picture and compares the network's outputs with the recorded answer.
    ///
    /// # Errors
    /// [`ModelError::Canary`] when the answer is wrong: weights, runtime or device cannot be trusted.
    pub fn canary(&mut self) -> Result<(), ModelError> {
        let picture = canary::picture(canary::WIDTH, canary::HEIGHT);
        let outputs = self.raw(&picture)?;
        canary::check(&self.network, &outputs)?;
        self.detect(&[&picture]).map(drop)
    }

    /// The network's own outputs for one picture, for comparing devices and precisions.
    pub(crate) fn raw(&mut self, picture: &RgbImage) -> Result<Vec<Vec<f32>>, ModelError> {
        let placement = self.placement((picture.width, picture.height));
        let batch = self.batch();
        self.run(&[picture], &placement, |outputs| Ok(canary::first_of_batch(outputs, batch)))
    }

    /// Letterboxes up to a batch of pictures into one run; what is missing repeats the last.
    fn run<T>(
        &mut self,
        images: &[&RgbImage],
        placement: &Placement,
        read: impl FnOnce(&[Output<'_>]) -> Result<T, ModelError>,
    ) -> Result<T, ModelError> {
        let shape = self.shape(placement);
        let [_, _, height, width] = shape;
        let (encoding, colour) = appearance(self.network.entry.family);
        let mut planes = vec![0.0; shape.iter().product()];
        let size = 3 * height * width;
        for (index, image) in images.iter().enumerate() {
            let canvas = self.letterbox.draw(image, placement, colour);
            to_planes(canvas, &encoding, width, height, &mut planes[index * size..(index + 1) * size]);
        }
        for index in images.len()..shape[0] {
            planes.copy_within((images.len() - 1) * size..images.len() * size, index * size);
        }
        self.network.run(shape, |input| input.copy_from_slice(&planes), read)
    }

    fn placement(&self, picture: (u32, u32)) -> Placement {
        let entry = &self.network.entry;
        match self.network.fixed_size() {
            (Some(height), Some(width)) => Placement::into_fixed(picture, width as u32, height as u32),
            // Every grid of strides 8, 16 and 32 must divide the input.
            _ => Placement::by_longer_side(picture, entry.input_size, entry.multiple.max(32)),
        }
    }

    fn shape(&self, placement: &Placement) -> Shape {
        [self.batch(), 3, placement.height as usize, placement.width as usize]
    }
}

/// A family's pixel format, and the colour around the picture that it was trained with.
fn appearance(family: Family) -> (Encoding, [u8; 3]) {
    match family {
        Family::Nanodet => (nanodet::ENCODING, nanodet::SURROUND),
        Family::Yolov8 | Family::Srvgg | Family::Rrdb => (UNIT, yolov8::SURROUND),
    }
}

/// The persons among the `index`-th picture's outputs, overlapping ones included.
fn decode(
    family: Family,
    outputs: &[Output<'_>],
    index: usize,
    input_size: (usize, usize),
) -> Result<Vec<Candidate>, String> {
    match family {
        Family::Nanodet => nanodet::decode(outputs, index, input_size),
        Family::Yolov8 => yolov8::decode(outputs, index),
        Family::Srvgg | Family::Rrdb => Err("it is no detector".to_owned()),
    }
}

/// Splits the `index`-th picture's part off an output of shape `n, rows, columns`.
fn slice_of<'a>(output: &Output<'a>, index: usize) -> Result<(&'a [f32], usize, usize), String> {
    match output.shape[..] {
        [batch, rows, columns] if index < batch => {
            let size = rows * columns;
            Ok((&output.data[index * size..(index + 1) * size], rows, columns))
        }
        _ => Err(format!("output {} has the shape {:?}", output.name, output.shape)),
    }
}
