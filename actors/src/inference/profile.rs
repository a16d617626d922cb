//! The numeric profile of an export: everything about the models and libraries that could change a byte of its
//! output. It is fixed when the export is accepted and stored with it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use models::{DeviceKind, ModelStore, NumericProfile, Trial};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Kinds of device that may stand in for each other within one numeric profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceClass {
    Cuda,
    Cpu,
    /// Waits instead of computing; asked for by name only.
    Sim,
}

/// One model as a class of devices runs it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ModelProfile {
    pub class: DeviceClass,
    pub model: String,
    /// None on simulated devices: no model runs there.
    pub numeric: Option<NumericProfile>,
    /// How quick it was when it was chosen: no part of what it is.
    #[serde(skip)]
    pub trial: Option<Trial>,
}

impl PartialEq for ModelProfile {
    fn eq(&self, other: &Self) -> bool {
        (self.class, &self.model, &self.numeric) == (other.class, &other.model, &other.numeric)
    }
}

impl Eq for ModelProfile {}

impl ModelProfile {
    /// The profile of a simulated device, which runs no model.
    pub fn simulated(model: &str) -> Self {
        Self { class: DeviceClass::Sim, model: model.to_owned(), numeric: None, trial: None }
    }
}

/// What is stored with an export at acceptance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportProfile {
    pub upscale: Option<Arc<ModelProfile>>,
    pub detect: Option<Arc<ModelProfile>>,
    /// `best`, `balanced` or `draft`: what `auto` meant at acceptance.
    pub quality: edits::Quality,
    /// Versions of the libraries that decode, scale and encode.
    pub libraries: String,
}

impl ExportProfile {
    /// Whether anything is inferred at all.
    pub fn uses_models(&self) -> bool {
        self.upscale.is_some() || self.detect.is_some()
    }
}

/// Finds the profile in which this node's devices run a model, measuring once and remembering.
pub struct Profiles {
    class: DeviceClass,
    device: Option<DeviceKind>,
    store: Option<Arc<ModelStore>>,
    /// Measured winners are kept here across starts, so that a profile does not change under running exports.
    keep_dir: PathBuf,
    known: Mutex<HashMap<String, Arc<ModelProfile>>>,
}

impl Profiles {
    /// `device` and `store` are None on a node that only simulates.
    pub fn new(
        class: DeviceClass,
        device: Option<DeviceKind>,
        store: Option<Arc<ModelStore>>,
        keep_dir: PathBuf,
    ) -> Self {
        Self { class, device, store, keep_dir, known: Mutex::default() }
    }

    /// The class of devices this node renders with.
    pub fn class(&self) -> DeviceClass {
        self.class
    }

    /// The profile of `model` here. Blocks while it measures the first time (seconds); later calls are instant.
    pub fn of(&self, model: &str) -> Result<Arc<ModelProfile>, models::ModelError> {
        let mut known = self.known.lock().expect("a measurement that panics ends the process's set-up");
        if let Some(profile) = known.get(model) {
            return Ok(Arc::clone(profile));
        }
        let profile = match (&self.device, &self.store) {
            (Some(device), Some(store)) => {
                let numeric = models::choose_profile(store, model, device, &self.keep_dir)?;
                let trial = models::trial(store, &numeric, &self.keep_dir)?;
                ModelProfile { class: self.class, model: model.to_owned(), numeric: Some(numeric), trial }
            }
            _ => ModelProfile::simulated(model),
        };
        let profile = Arc::new(profile);
        known.insert(model.to_owned(), Arc::clone(&profile));
        Ok(profile)
    }
}
