//! Super-resolution: pictures in, pictures `scale` times as large out.

use crate::network::{Network, Output, Shape};
use crate::pixels::{UNIT, from_planes, to_planes};
use crate::{DeviceKind, ModelError, ModelKind, ModelStore, NumericProfile, canary};
use edits::RgbImage;

/// A loaded super-resolution model (families `srvgg` and `rrdb`).
pub struct Upscaler {
    network: Network,
}

impl Upscaler {
    /// Loads the profile's model on `device`.
    ///
    /// # Errors
    /// The file is missing or corrupt, or the profile was fixed for another file, runtime or hardware.
    pub fn load(store: &ModelStore, profile: &NumericProfile, device: &DeviceKind) -> Result<Self, ModelError> {
        let entry = store.entry(&profile.model)?;
        if entry.family.kind() != ModelKind::Upscaler {
            return Err(ModelError::WrongKind {
                model: entry.name.clone(),
                family: entry.family.name(),
                wanted: "an upscaler",
            });
        }
        let network = Network::load(store, profile, device)?;
        Ok(Self { network })
    }

    /// Output side over input side.
    pub fn scale(&self) -> u32 {
        self.network.entry.scale
    }

    /// Pictures that one run takes at once.
    pub fn batch(&self) -> usize {
        self.network.batch()
    }

    pub fn profile(&self) -> &NumericProfile {
        &self.network.profile
    }

    /// Builds the session for inputs of this size ahead of the first of them.
    pub fn warm(&mut self, width: u32, height: u32) -> Result<(), ModelError> {
        self.network.warm(self.shape(width, height))
    }

    /// Upscales `images`, which must all have one size, in runs of [`batch`](Self::batch); the last run is filled up
    /// with repeats, so a picture's result does not depend on the others of its run.
    pub fn infer(&mut self, images: &[&RgbImage]) -> Result<Vec<RgbImage>, ModelError> {
        let Some((width, height)) = common_size(&self.network.entry.name, images)? else {
            return Ok(Vec::new());
        };
        let scale = self.scale();
        let shape = self.shape(width, height);
        let (batch, name) = (shape[0], self.network.entry.name.clone());
        let mut results = Vec::with_capacity(images.len());
        for group in images.chunks(batch) {
            let fill = |input: &mut [f32]| fill_batch(group, shape, input);
            let upscaled = self.network.run(shape, fill, |outputs| {
                let planes = planes_of(outputs, shape, scale, &name)?;
                let stride = shape[3] * scale as usize;
                let picture = |planes: &[f32]| from_planes(planes, stride, width * scale, height * scale);
                Ok(planes.chunks_exact(planes.len() / batch).take(group.len()).map(picture).collect::<Vec<_>>())
            })?;
            results.extend(upscaled);
        }
        Ok(results)
    }

    /// Upscales a generated picture and compares with the recorded answer.
    ///
    /// # Errors
    /// [`ModelError::Canary`] when the answer is wrong: weights, runtime or device cannot be trusted.
    pub fn canary(&mut self) -> Result<(), ModelError> {
        let picture = canary::picture(canary::WIDTH, canary::HEIGHT);
        let outputs = self.raw(&picture)?;
        canary::check(&self.network, &outputs)?;
        let scale = self.scale();
        let stride = self.shape(picture.width, picture.height)[3] * scale as usize;
        let upscaled = from_planes(&outputs[0], stride, picture.width * scale, picture.height * scale);
        canary::check_upscaled(&self.network, &picture, &upscaled)
    }

    /// The network's own outputs for one picture, for comparing devices and precisions.
    pub(crate) fn raw(&mut self, picture: &RgbImage) -> Result<Vec<Vec<f32>>, ModelError> {
        let shape = self.shape(picture.width, picture.height);
        let fill = |input: &mut [f32]| fill_batch(&[picture], shape, input);
        let (scale, name) = (self.scale(), self.network.entry.name.clone());
        self.network.run(shape, fill, |outputs| {
            planes_of(outputs, shape, scale, &name)?;
            Ok(canary::first_of_batch(outputs, shape[0]))
        })
    }

    /// The shape that pictures of this size are padded to.
    fn shape(&self, width: u32, height: u32) -> Shape {
        let multiple = self.network.entry.multiple;
        let padded = |side: u32| side.next_multiple_of(multiple) as usize;
        [self.batch(), 3, padded(height), padded(width)]
    }
}

fn fill_batch(images: &[&RgbImage], [_, _, height, width]: Shape, input: &mut [f32]) {
    let last = images.len() - 1;
    for (index, planes) in input.chunks_exact_mut(3 * height * width).enumerate() {
        to_planes(images[index.min(last)], &UNIT, width, height, planes);
    }
}

/// The one output's planes, if it has the size that the scale promises.
fn planes_of<'a>(outputs: &[Output<'a>], shape: Shape, scale: u32, model: &str) -> Result<&'a [f32], ModelError> {
    let [batch, _, height, width] = shape;
    let scale = scale as usize;
    match outputs {
        [output] if output.shape == [batch, 3, height * scale, width * scale] => Ok(output.data),
        _ => {
            let shapes: Vec<&[usize]> = outputs.iter().map(|output| output.shape.as_slice()).collect();
            let detail = format!("its outputs are {shapes:?} for input {shape:?} and scale {scale}");
            Err(ModelError::inference("upscaling", model, detail))
        }
    }
}

/// The size of all `images`; none if there are none.
pub(crate) fn common_size(model: &str, images: &[&RgbImage]) -> Result<Option<(u32, u32)>, ModelError> {
    let Some(first) = images.first() else {
        return Ok(None);
    };
    let size = (first.width, first.height);
    if size.0 == 0 || size.1 == 0 {
        return Err(ModelError::inference("reading the input", model, "a picture is empty"));
    }
    match images.iter().find(|image| (image.width, image.height) != size) {
        None => Ok(Some(size)),
        Some(other) => {
            let detail = format!("pictures of {size:?} and of {:?} in one call", (other.width, other.height));
            Err(ModelError::inference("reading the input", model, detail))
        }
    }
}
