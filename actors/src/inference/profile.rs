//! The numeric profile of an export: everything about the models and libraries that could change a byte of its
//! output. It is fixed when the export is accepted and stored with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use models::{ModelError, NumericProfile, Trial};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;
use utoipa::ToSchema;

use crate::threads::{self, ThreadError};

/// What a node does that finds a model's profile, in errors.
pub(crate) const CHOOSING: &str = "choosing the numeric profile";

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
    /// None on a node that only simulates.
    chooser: Option<Arc<dyn Chooser>>,
    /// A cell for each model: a model that is being measured delays only those who ask for it.
    known: Mutex<HashMap<String, Arc<OnceCell<Arc<ModelProfile>>>>>,
}

/// Chooses the numeric profile of a model. Blocks while it measures, for seconds or minutes.
pub trait Chooser: Send + Sync {
    /// The profile, and how quick the model was in it where that was measured.
    ///
    /// # Errors
    /// The model is missing, or the devices run it in no way that works.
    fn choose(&self, model: &str) -> Result<(NumericProfile, Option<Trial>), ModelError>;

    /// Whether results come out byte for byte as `profile` fixes them.
    fn offers(&self, profile: &NumericProfile) -> bool;
}

impl Profiles {
    /// `chooser` is None on a node that only simulates.
    pub fn new(class: DeviceClass, chooser: Option<Arc<dyn Chooser>>) -> Self {
        Self { class, chooser, known: Mutex::default() }
    }

    /// The class of devices this node renders with.
    pub fn class(&self) -> DeviceClass {
        self.class
    }

    /// Whether this node's devices give the results that `profile` fixes. Reads the names of files at most.
    pub fn offers(&self, profile: &ModelProfile) -> bool {
        profile.class == self.class
            && match (&self.chooser, &profile.numeric) {
                (Some(chooser), Some(numeric)) => chooser.offers(numeric),
                (None, None) => true,
                _ => false,
            }
    }

    /// The profile of `model` here. Waits while it is measured the first time, seconds or minutes; later calls are
    /// instant.
    ///
    /// # Errors
    /// See [`Chooser::choose`].
    pub async fn of(&self, model: &str) -> Result<Arc<ModelProfile>, ModelError> {
        let Some(chooser) = &self.chooser else { return Ok(Arc::new(ModelProfile::simulated(model))) };
        let cell = {
            let mut known = self.known.lock().expect("nothing panics while the map is locked");
            Arc::clone(known.entry(model.to_owned()).or_default())
        };
        let choose = async || {
            let (chooser, name) = (Arc::clone(chooser), model.to_owned());
            let chosen = threads::blocking(CHOOSING, move || chooser.choose(&name)).await;
            let broken = |error: ThreadError| ModelError::Inference {
                doing: CHOOSING,
                model: model.to_owned(),
                detail: error.to_string(),
            };
            let (numeric, trial) = chosen.map_err(broken)??;
            Ok(Arc::new(ModelProfile { class: self.class, model: model.to_owned(), numeric: Some(numeric), trial }))
        };
        cell.get_or_try_init(choose).await.map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use models::{Precision, Provider};

    use super::*;

    /// Chooses at once, except for the model `slow`: when told to.
    struct Told(Mutex<mpsc::Receiver<()>>);

    impl Chooser for Told {
        fn choose(&self, model: &str) -> Result<(NumericProfile, Option<Trial>), ModelError> {
            if model == "slow" {
                self.0.lock().unwrap().recv().unwrap();
            }
            Ok((numeric(model), None))
        }

        fn offers(&self, profile: &NumericProfile) -> bool {
            *profile == numeric(&profile.model)
        }
    }

    #[test]
    fn a_profile_is_offered_where_its_class_and_every_number_are() {
        let (_, told) = mpsc::channel();
        let here = Profiles::new(DeviceClass::Cpu, Some(Arc::new(Told(Mutex::new(told)))));
        let of = |class, numeric| ModelProfile { class, model: "m".to_owned(), numeric, trial: None };
        assert!(here.offers(&of(DeviceClass::Cpu, Some(numeric("m")))));
        assert!(!here.offers(&of(DeviceClass::Cuda, Some(numeric("m")))));
        let other = NumericProfile { threads: 2, ..numeric("m") };
        assert!(!here.offers(&of(DeviceClass::Cpu, Some(other))), "`cpu_threads` has changed");
        assert!(!here.offers(&ModelProfile::simulated("m")));
        assert!(Profiles::new(DeviceClass::Sim, None).offers(&ModelProfile::simulated("m")));
    }

    fn numeric(model: &str) -> NumericProfile {
        NumericProfile {
            model: model.to_owned(),
            model_sha256: "00".to_owned(),
            provider: Provider::Cpu,
            precision: Precision::Fp32,
            threads: 1,
            batch: 1,
            runtime_version: "1.0".to_owned(),
            device: "a processor".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_model_that_is_being_measured_delays_no_other() {
        let (finish, told) = mpsc::channel();
        let profiles = Arc::new(Profiles::new(DeviceClass::Cpu, Some(Arc::new(Told(Mutex::new(told))))));
        let slow = tokio::spawn({
            let profiles = Arc::clone(&profiles);
            async move { profiles.of("slow").await.unwrap() }
        });
        tokio::task::yield_now().await;
        let quick = profiles.of("quick").await.unwrap();
        assert_eq!(quick.numeric, Some(numeric("quick")));
        assert!(!slow.is_finished(), "it is measured until the test says so");
        finish.send(()).unwrap();
        let slow = slow.await.unwrap();
        assert!(Arc::ptr_eq(&slow, &profiles.of("slow").await.unwrap()), "it was measured twice");
    }

    #[tokio::test]
    async fn simulated_devices_measure_nothing() {
        let profiles = Profiles::new(DeviceClass::Sim, None);
        assert_eq!(*profiles.of("any").await.unwrap(), ModelProfile::simulated("any"));
    }
}
