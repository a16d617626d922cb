//! What serves a batch inside a device's worker: an [`Engine`], such as loaded models.

use std::collections::HashMap;
use std::sync::Arc;

use edits::RgbImage;
use models::{Detector, DeviceKind, ModelStore, NumericProfile, Upscaler};

use crate::inference::profile::ModelProfile;
use crate::inference::queue::{Output, Task, TaskKind};

/// Serves batches on one thread. Made, used and dropped there.
pub trait Engine {
    /// Answers for each image of a batch, in order. All images have one size.
    ///
    /// # Errors
    /// The reason, for the log and the report; the batch may be tried elsewhere.
    fn run(&mut self, task: &Task, images: &[&RgbImage]) -> Result<Vec<Output>, String>;

    /// How many times as large the pictures come back; 1 where none do.
    ///
    /// # Errors
    /// When the task's model does not load.
    fn scale(&mut self, task: &Task) -> Result<u32, String>;
}

/// Makes a fresh engine, loads its models and checks them against known answers: once per worker generation.
pub type EngineFactory = Arc<dyn Fn() -> Result<Box<dyn Engine>, String> + Send + Sync>;

/// A CPU share or a GPU with its models, each by its whole profile: two exports may have fixed different ones of one
/// model. Further models are loaded when an export first asks for them.
pub struct ModelEngine {
    store: Arc<ModelStore>,
    device: DeviceKind,
    upscalers: HashMap<NumericProfile, Upscaler>,
    detectors: HashMap<NumericProfile, Detector>,
}

impl ModelEngine {
    /// Loads `warm` and checks each by its canary.
    pub fn load(
        store: Arc<ModelStore>,
        device: DeviceKind,
        warm: &[(TaskKind, Arc<ModelProfile>)],
    ) -> Result<Self, String> {
        let mut engine = Self { store, device, upscalers: HashMap::new(), detectors: HashMap::new() };
        for (kind, profile) in warm {
            match kind {
                TaskKind::Upscale => engine.upscaler(profile)?.canary().map_err(|error| error.to_string())?,
                TaskKind::Detect => engine.detector(profile)?.canary().map_err(|error| error.to_string())?,
            }
        }
        Ok(engine)
    }

    fn upscaler(&mut self, profile: &ModelProfile) -> Result<&mut Upscaler, String> {
        let numeric = profile.numeric.as_ref().ok_or("a simulated profile has no model")?;
        if !self.upscalers.contains_key(numeric) {
            let model = Upscaler::load(&self.store, numeric, &self.device).map_err(|error| error.to_string())?;
            self.upscalers.insert(numeric.clone(), model);
        }
        Ok(self.upscalers.get_mut(numeric).expect("inserted above"))
    }

    fn detector(&mut self, profile: &ModelProfile) -> Result<&mut Detector, String> {
        let numeric = profile.numeric.as_ref().ok_or("a simulated profile has no model")?;
        if !self.detectors.contains_key(numeric) {
            let model = Detector::load(&self.store, numeric, &self.device).map_err(|error| error.to_string())?;
            self.detectors.insert(numeric.clone(), model);
        }
        Ok(self.detectors.get_mut(numeric).expect("inserted above"))
    }
}

impl Engine for ModelEngine {
    fn run(&mut self, task: &Task, images: &[&RgbImage]) -> Result<Vec<Output>, String> {
        match task.kind {
            TaskKind::Upscale => {
                let images = self.upscaler(&task.profile)?.infer(images).map_err(|error| error.to_string())?;
                Ok(images.into_iter().map(Output::Image).collect())
            }
            TaskKind::Detect => {
                let boxes = self.detector(&task.profile)?.detect(images).map_err(|error| error.to_string())?;
                Ok(boxes.into_iter().map(Output::Boxes).collect())
            }
        }
    }

    fn scale(&mut self, task: &Task) -> Result<u32, String> {
        match task.kind {
            TaskKind::Upscale => Ok(self.upscaler(&task.profile)?.scale()),
            TaskKind::Detect => Ok(1),
        }
    }
}
