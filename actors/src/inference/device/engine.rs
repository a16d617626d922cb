//! What serves a batch inside a device's worker: an [`Engine`], which has a process do it; and what that process runs: a
//! [`ModelEngine`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use edits::RgbImage;
use models::{Detector, DeviceKind, ModelStore, NumericProfile, Upscaler};
use sandbox::Process;

use crate::inference::profile::ModelProfile;
use crate::inference::queue::{Output, Task, TaskKind};

/// Serves batches on one thread. Made, used and dropped there.
pub trait Engine {
    /// Answers for each image of a batch, in order. All images have one size.
    ///
    /// # Errors
    /// See [`EngineFault`]; the batch may be tried elsewhere.
    fn run(&mut self, task: &Task, images: &[&RgbImage]) -> Result<Vec<Output>, EngineFault>;

    /// How many times as large the pictures come back; 1 where none do.
    ///
    /// # Errors
    /// When the task's model does not load.
    fn scale(&mut self, task: &Task) -> Result<u32, String>;
}

/// Why a batch was not served: a reason for the log and the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineFault {
    /// This batch failed; the engine goes on.
    Batch(String),
    /// The engine is of no use any more: its process ended in this batch.
    Engine(String),
    /// The engine is of no use any more, and this batch has nothing to do with that: its process was gone before, or was
    /// ended together with its template.
    Lost(String),
}

/// The process that a worker's engine waits for, as who abandons the worker sees it.
#[derive(Debug, Clone, Default)]
pub struct WorkerProcess(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
enum Held {
    /// None is started yet.
    #[default]
    Nothing,
    Process(Arc<Process>),
    /// The worker is abandoned: what is started now is killed.
    Abandoned,
}

impl WorkerProcess {
    /// The worker's engine has this process from now on.
    pub fn holds(&self, process: &Arc<Process>) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *held {
            Held::Abandoned => end(process),
            held => *held = Held::Process(Arc::clone(process)),
        }
    }

    /// Kills the process, and each that is started later.
    pub fn abandon(&self) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Held::Process(process) = std::mem::replace(&mut *held, Held::Abandoned) {
            end(&process);
        }
    }
}

/// Kills a process. Its channel is closed as well: a process that a library started there may hold the other end, and who
/// waits for an answer is not to wait for that.
fn end(process: &Process) {
    process.killer().kill();
    process.channel.close();
}

/// Makes a fresh engine, loads its models and checks them against known answers: once per worker generation.
pub type EngineFactory = Arc<dyn Fn(&WorkerProcess) -> Result<Box<dyn Engine>, String> + Send + Sync>;

/// A CPU share or a GPU with its models, each by its whole profile: two exports may have fixed different ones of one
/// model. Further models are loaded when an export first asks for them. Lives in a device process.
pub struct ModelEngine {
    store: ModelStore,
    device: DeviceKind,
    upscalers: HashMap<NumericProfile, Upscaler>,
    detectors: HashMap<NumericProfile, Detector>,
}

impl ModelEngine {
    /// Loads `warm` and checks each by its canary.
    pub fn load(store: ModelStore, device: DeviceKind, warm: &[(TaskKind, Arc<ModelProfile>)]) -> Result<Self, String> {
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

    /// Answers for each image of a batch, in order.
    ///
    /// # Errors
    /// The reason.
    pub fn run(&mut self, task: &Task, images: &[&RgbImage]) -> Result<Vec<Output>, String> {
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
}
