//! The devices of a node: which there are, how they are set up at start, and what operators can do to them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Arbiter, MailboxError};
use config::{DeviceList, DeviceName, Settings};
use edits::RgbImage;
use entities::TenantId;
use models::{DeviceKind, ModelKind, ModelStore};
use tokio::sync::watch;
use uuid::Uuid;

use super::NodeOptions;
use super::error::StartError;
use crate::inference::device::{
    self, DeviceHealth, DeviceSetup, DeviceState, DeviceSupervisor, Load, Operate, Operation, SimDevice,
};
use crate::inference::profile::{DeviceClass, ModelProfile, Profiles};
use crate::inference::queue::{FrameJob, FrameQueue, Task, TaskKind, TenantQueue};
use crate::processes::devices::{DeviceProcesses, Work};
use crate::processes::measuring::Measured;
use crate::settings::config_keeper::Versioned;

/// Handles to the devices of a node. Cheap to clone.
#[derive(Clone)]
pub struct Devices {
    states: Arc<Vec<watch::Receiver<DeviceState>>>,
    supervisors: Arc<Vec<Addr<DeviceSupervisor>>>,
    queue: Arc<FrameQueue>,
    profiles: Arc<Profiles>,
    models: Option<Arc<ModelStore>>,
}

impl Devices {
    pub(super) fn start(
        setups: Vec<DeviceSetup>,
        queue: Arc<FrameQueue>,
        profiles: Arc<Profiles>,
        models: Option<Arc<ModelStore>>,
    ) -> Self {
        // On an arbiter of their own, so that no HTTP handler delays a batch.
        let arbiter = Arbiter::new();
        let start = |setup| {
            let (supervisor, watched) = DeviceSupervisor::new(setup, Arc::clone(&queue));
            (DeviceSupervisor::start_in_arbiter(&arbiter.handle(), |_| supervisor), watched)
        };
        let (supervisors, states): (Vec<_>, Vec<_>) = setups.into_iter().map(start).unzip();
        Self { states: Arc::new(states), supervisors: Arc::new(supervisors), queue, profiles, models }
    }

    /// Every device as it is now.
    pub fn states(&self) -> Vec<DeviceState> {
        self.states.iter().map(|device| device.borrow().clone()).collect()
    }

    /// How many devices there are.
    pub fn count(&self) -> usize {
        self.states.len()
    }

    /// Waits until every device has tried to start and one of them serves.
    ///
    /// # Errors
    /// The last device's reason, when all went out of service.
    pub async fn ready(&self) -> Result<(), String> {
        const GONE: &str = "a device's supervisor has stopped";
        for device in self.states.iter() {
            device.clone().wait_for(|state| !state.is_starting()).await.map_err(|_| GONE)?;
        }
        let mut reason = "there is no device".to_owned();
        for device in self.states.iter() {
            let decided = |state: &DeviceState| state.health != DeviceHealth::Loading;
            let mut device = device.clone();
            let state = device.wait_for(decided).await.map_err(|_| GONE)?;
            if state.health.serves() {
                return Ok(());
            }
            let error = state.last_error.as_deref().unwrap_or("no reason is known");
            reason = format!("device {} does not start: {error}", state.id);
        }
        Err(reason)
    }

    /// Drains, disables or enables a device, until the process ends. Returns its state afterwards; None: there is no such
    /// device.
    ///
    /// # Errors
    /// When the device's supervisor does not answer.
    pub async fn operate(&self, device: &str, operation: Operation) -> Result<Option<DeviceState>, MailboxError> {
        let found = self.states.iter().position(|state| *state.borrow().id == *device);
        match found {
            Some(place) => self.supervisors[place].send(Operate(operation)).await.map(Some),
            None => Ok(None),
        }
    }

    /// The models there are; None where every device only simulates.
    pub fn models(&self) -> Option<&Arc<ModelStore>> {
        self.models.as_ref()
    }

    /// Has every device that serves load a model; nothing happens when there is no such model. Devices finish what they have in
    /// hand first; [`DeviceState::models`] shows when one is done. The first time a model is used here it is measured,
    /// which takes seconds.
    ///
    /// # Errors
    /// When the model's file cannot be read or used.
    pub async fn load_model(&self, name: &str) -> Result<(), models::ModelError> {
        let Some(kind) = self.models.as_ref().and_then(|store| store.kind(name).ok()) else {
            return Ok(());
        };
        let kind = match kind {
            ModelKind::Upscaler => TaskKind::Upscale,
            ModelKind::Detector => TaskKind::Detect,
        };
        let profile = self.profiles.of(name).await?;
        let black = Arc::new(RgbImage::new(LOAD_SIDE, LOAD_SIDE));
        for supervisor in self.supervisors.iter() {
            let task = Task { kind, profile: Arc::clone(&profile) };
            let (job, answer) =
                FrameJob::interactive(TenantId::from(Uuid::nil()), task, Arc::clone(&black), 0.0, Arc::new(()));
            if let Err(error) = supervisor.send(Load(job)).await {
                tracing::warn!(%error, model = name, "a device does not load a model");
            }
            // Awaited, as a frame whose answer has no receiver is not served.
            actix::spawn(async move { drop(tokio::time::timeout(LOAD_WITHIN, answer).await) });
        }
        Ok(())
    }

    /// What waits and what was served, by tenant.
    pub fn queues(&self) -> Vec<TenantQueue> {
        self.queue.snapshot()
    }

    /// Sets a tenant's share of this node's devices relative to others', from now on.
    pub fn set_weight(&self, tenant: TenantId, weight: f64) {
        self.queue.weigh(tenant, weight);
    }
}

/// Side of the black picture by which a model is loaded, in pixels: the least that every network takes.
const LOAD_SIDE: u32 = 64;
/// How long a device may be busy before it loads a model that it was asked to.
const LOAD_WITHIN: Duration = Duration::from_secs(300);
/// Frames in a batch on a GPU, unless the settings say otherwise.
const GPU_BATCH: usize = 4;

pub(super) fn names(settings: &Settings) -> Result<Vec<DeviceName>, StartError> {
    let names = match &settings.devices.list {
        DeviceList::Auto => device::auto(settings.devices.cpu_threads),
        DeviceList::Named(names) => names.clone(),
    };
    let mut classes = names.iter().map(class_of);
    match classes.next() {
        None => Err(StartError::Devices("no device is named".into())),
        Some(first) if classes.all(|class| class == first) => Ok(names),
        Some(_) => Err(StartError::Devices("devices of several kinds cannot share one node yet".into())),
    }
}

pub(super) fn class_of(name: &DeviceName) -> DeviceClass {
    match name {
        DeviceName::Cuda(_) => DeviceClass::Cuda,
        DeviceName::Cpu(_) => DeviceClass::Cpu,
        DeviceName::Sim(_) => DeviceClass::Sim,
    }
}

pub(super) fn kind_of(name: &DeviceName, settings: &Settings) -> Option<DeviceKind> {
    match name {
        DeviceName::Cuda(index) => Some(DeviceKind::Cuda { index: *index }),
        DeviceName::Cpu(_) => Some(DeviceKind::Cpu { threads: settings.devices.cpu_threads }),
        DeviceName::Sim(_) => None,
    }
}

/// Segments that are rendered side by side. Devices beside the processor want one more than there are of them, so that
/// none waits while a segment begins, and cores that decode and encode; where devices are cores, more would only get
/// into each other's way.
pub(super) fn segment_slots(class: DeviceClass, devices: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match class {
        DeviceClass::Cpu => cores.max(2),
        DeviceClass::Cuda | DeviceClass::Sim => (devices + 1).max(cores).max(2),
    }
}

/// The models and the folder they are in; None where every device only simulates.
pub(super) fn open_models(
    settings: &Settings,
    names: &[DeviceName],
) -> Result<Option<(Arc<ModelStore>, PathBuf)>, StartError> {
    if names.iter().all(|name| class_of(name) == DeviceClass::Sim) {
        return Ok(None);
    }
    let folder = ModelStore::locate(&settings.models.dir)?;
    let store = ModelStore::open(&folder)?;
    Ok(Some((Arc::new(store), folder)))
}

/// Where measured winners are kept: with the models where that can be written, so that the private data folder of one
/// render does not measure again; else with the data.
pub fn keep_dir(models: Option<&Path>, data_dir: &Path) -> PathBuf {
    let writable = |folder: &&Path| tempfile::tempfile_in(folder).is_ok();
    models.filter(writable).unwrap_or(data_dir).to_owned()
}

/// Private memory that a device process may take, in MiB; 0: no limit. On a GPU it maps the whole device.
fn memory_mb(class: DeviceClass, settings: &Settings) -> u32 {
    if class == DeviceClass::Cuda { 0 } else { settings.devices.memory_mb }
}

/// The profiles in which the devices run models; `keep_dir` is where they are kept.
pub(super) fn profiles(
    settings: &Settings,
    name: &DeviceName,
    models: Option<&Arc<ModelStore>>,
    keep_dir: PathBuf,
    processes: &Arc<DeviceProcesses>,
) -> Profiles {
    let class = class_of(name);
    let measured = kind_of(name, settings).zip(models).map(|(device, store)| {
        let (processes, store) = (Arc::clone(processes), Arc::clone(store));
        Arc::new(Measured { processes, device, store, keep_dir, memory_mb: memory_mb(class, settings) }) as _
    });
    Profiles::new(class, measured)
}

/// The models to load at start, in their profiles. Measures the first time.
pub(super) async fn warm_models(
    profiles: &Profiles,
    live: &Versioned,
    models: Option<&ModelStore>,
    options: NodeOptions,
) -> Result<Vec<(TaskKind, Arc<ModelProfile>)>, StartError> {
    let mut wanted = Vec::new();
    if models.is_some() {
        if options.upscaler {
            wanted.push((TaskKind::Upscale, live.live.upscale.model.clone()));
        }
        if options.detector {
            wanted.push((TaskKind::Detect, live.live.detect.model.clone()));
        }
    }
    let mut warm = Vec::new();
    for (kind, model) in wanted {
        warm.push((kind, profiles.of(&model).await?));
    }
    Ok(warm)
}

pub(super) fn setups(
    settings: &Settings,
    names: &[DeviceName],
    models: Option<&Arc<ModelStore>>,
    warm: &[(TaskKind, Arc<ModelProfile>)],
    processes: &Arc<DeviceProcesses>,
) -> Vec<DeviceSetup> {
    let setup = |name: &DeviceName| {
        let work = match (kind_of(name, settings), models) {
            (Some(device), Some(store)) => {
                Work::Models { store: ModelStore::clone(store), device, warm: warm.to_vec() }
            }
            _ => {
                let per_frame = Duration::from_secs_f64(settings.devices.sim_frame_ms / 1e3);
                Work::Sim(Arc::new(SimDevice::new(per_frame, settings.devices.sim_of(*name))))
            }
        };
        let class = class_of(name);
        let factory = processes.engines(work, memory_mb(class, settings));
        let default = if class == DeviceClass::Cuda { GPU_BATCH } else { 1 };
        DeviceSetup {
            id: name.to_string().into(),
            class,
            batch: settings.devices.fixed_batch().unwrap_or(default),
            stall: Duration::from_secs_f64(settings.devices.stall_seconds),
            factory,
            warm: warm.iter().map(|(_, profile)| profile.model.clone()).collect(),
        }
    };
    names.iter().map(setup).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn winners_are_kept_with_the_models_where_that_can_be_written() {
        let (models, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(keep_dir(Some(models.path()), data.path()), models.path());
        // No file can be made there, not even by root.
        assert_eq!(keep_dir(Some(Path::new("/proc")), data.path()), data.path());
        assert_eq!(keep_dir(None, data.path()), data.path());
    }
}
