//! Numeric profiles that a device process measures: no model runs in the server.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use models::{DeviceKind, ModelError, ModelStore, NumericProfile, Trial};
use sandbox::Process;

use super::device_message::Purpose;
use super::devices::{DeviceProcesses, memory_limit};
use crate::inference::profile::{CHOOSING, Chooser};

/// After this a process that measures is killed: it takes seconds, and minutes for large models.
const LONGEST: Duration = Duration::from_secs(600);

/// What the devices of this node offer a model.
pub struct Measured {
    pub processes: Arc<DeviceProcesses>,
    pub device: DeviceKind,
    pub store: Arc<ModelStore>,
    /// Measured winners are kept here across starts, so that a profile does not change under running exports.
    pub keep_dir: PathBuf,
    /// Private memory of the process that measures, in MiB; 0: no limit.
    pub memory_mb: u32,
}

impl Measured {
    fn kept(&self, model: &str) -> Result<Option<NumericProfile>, ModelError> {
        models::kept_profile(&self.store, model, &self.device, &self.keep_dir)
    }

    fn measure(&self, model: &str) -> Result<(), String> {
        let purpose = Purpose::Measure {
            weights: self.store.weights().to_owned(),
            device: self.device.clone(),
            model: model.to_owned(),
            keep_dir: self.keep_dir.clone(),
        };
        let (ended, end) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let watch = |process: &Arc<Process>| {
                let killer = process.killer();
                scope.spawn(move || {
                    if end.recv_timeout(LONGEST) == Err(mpsc::RecvTimeoutError::Timeout) {
                        killer.kill();
                    }
                });
            };
            let measured = self.processes.open(&purpose, memory_limit(self.memory_mb), watch);
            drop(ended);
            measured.map(|_| ())
        })
    }
}

impl Chooser for Measured {
    fn choose(&self, model: &str) -> Result<(NumericProfile, Option<Trial>), ModelError> {
        let failed = |detail| ModelError::Inference { doing: CHOOSING, model: model.to_owned(), detail };
        let numeric = match self.kept(model)? {
            Some(kept) => kept,
            None => {
                self.measure(model).map_err(failed)?;
                self.kept(model)?.ok_or_else(|| failed("its process has kept no choice".to_owned()))?
            }
        };
        let trial = models::trial(&self.store, &numeric, &self.keep_dir)?;
        Ok((numeric, trial))
    }

    fn offers(&self, profile: &NumericProfile) -> bool {
        let checked = models::check_profile(&self.store, profile, &self.device);
        if let Err(error) = &checked {
            tracing::debug!(%error, "a numeric profile is not offered");
        }
        checked.is_ok()
    }
}
