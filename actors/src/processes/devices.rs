//! A node's device processes: each device's worker has one, as its [`Engine`].
//!
//! The worker's thread writes a batch into the exchange, sends one message, and waits for the answer. Who abandons the
//! worker kills the process, so that the thread returns and the device's memory is free.

use std::collections::VecDeque;
use std::sync::Arc;

use edits::RgbImage;
use models::{DeviceKind, ModelStore};
use sandbox::{Bounds, Confinement, Exit, Limits, Process};

use super::DEVICE_ARGUMENT;
use super::device_message::{BatchOrder, DeviceMessage, Opening, Purpose};
use super::kept_template::KeptTemplate;
use super::log::Repeat;
use super::message::{Threshold, Worked};
use crate::inference::device::{Engine, EngineFactory, EngineFault, SimDevice, WorkerProcess};
use crate::inference::profile::ModelProfile;
use crate::inference::queue::{Output, Task, TaskKind};

/// Room for the pictures of a batch, in bytes; memory is taken where they are written. A picture of 33 million pixels
/// takes 1.6 GB when it is upscaled fourfold.
const EXCHANGE_BYTES: u64 = 4 << 30;
/// What is found in the pictures of a batch takes less.
const BOUNDS: Bounds = Bounds { value: 2 << 20, attached: 0 };
/// What a process keeps of it between batches: that of most pictures. The rest is given back.
const KEPT_BYTES: u64 = 64 << 20;
/// Longest reason for which a batch fails, in bytes.
const MOST_REASON_BYTES: usize = 4096;
/// Variables by which drivers and runtimes are set up begin so.
const DRIVERS: [&str; 7] = ["CUDA_", "ORT_", "OMP_", "OPENVINO_", "TBB_", "MKL_", "VK_"];
/// Others of them, where libraries lie, and where caches of compiled kernels are.
const VARIABLES: [&str; 8] = [
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_TF32_OVERRIDE",
    "LD_LIBRARY_PATH",
    "HOME",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
    "TMPDIR",
];

/// Starts the device processes of a node. The first device that needs one starts their template.
pub struct DeviceProcesses(KeptTemplate);

/// What a device process runs.
#[derive(Clone)]
pub enum Work {
    /// Models on a device; those of `warm` are loaded before a worker is ready. Without any, the process is started with
    /// the first batch.
    Models { store: ModelStore, device: DeviceKind, warm: Vec<(TaskKind, Arc<ModelProfile>)> },
    /// A simulated device.
    Sim(Arc<SimDevice>),
}

impl Default for DeviceProcesses {
    fn default() -> Self {
        let keeps = |name: &str| VARIABLES.contains(&name) || DRIVERS.iter().any(|prefix| name.starts_with(prefix));
        Self(KeptTemplate::new(DEVICE_ARGUMENT, keeps))
    }
}

impl DeviceProcesses {
    /// The engines of one device, whose process may take so much private memory; 0: no limit.
    pub fn engines(self: &Arc<Self>, work: Work, memory_mb: u32) -> EngineFactory {
        let processes = Arc::clone(self);
        let limits = memory_limit(memory_mb);
        Arc::new(move |worker| {
            let mut engine = RemoteEngine {
                processes: Arc::clone(&processes),
                work: work.clone(),
                limits,
                worker: worker.clone(),
                process: None,
            };
            if !matches!(&work, Work::Models { warm, .. } if warm.is_empty()) {
                engine.process()?;
            }
            Ok(Box::new(engine))
        })
    }

    /// Has a process do what it is for, or make itself ready for it; `started` is called before. Blocks until it has.
    ///
    /// # Errors
    /// What the process says, or how it ended.
    pub(super) fn open(
        &self,
        purpose: &Purpose,
        limits: Limits,
        started: impl FnOnce(&Arc<Process>),
    ) -> Result<Arc<Process>, String> {
        let failed = |error: std::io::Error| format!("its process does not start: {error}");
        let confinement = Confinement { access: None, limits };
        let process = Arc::new(self.0.spawn(&confinement, EXCHANGE_BYTES).map_err(failed)?);
        started(&process);
        let purpose = serde_json::to_string(purpose).map_err(|error| error.to_string())?;
        process.channel.send(&Opening { purpose, log: Threshold::current() }).map_err(failed)?;
        match answer(&process).map_err(|exit| exit.to_string())? {
            DeviceMessage::Opened(opened) => opened.map(|()| process),
            _ => Err(NONSENSE.to_owned()),
        }
    }
}

/// So much private memory; 0: no limit.
pub(super) fn memory_limit(megabytes: u32) -> Limits {
    let memory_bytes = if megabytes == 0 { u64::MAX } else { u64::from(megabytes) << 20 };
    Limits { memory_bytes, ..Limits::NONE }
}

/// The engine of a worker: a process.
struct RemoteEngine {
    processes: Arc<DeviceProcesses>,
    work: Work,
    limits: Limits,
    worker: WorkerProcess,
    process: Option<Arc<Process>>,
}

impl RemoteEngine {
    /// The process, whose models are loaded.
    fn process(&mut self) -> Result<Arc<Process>, String> {
        let process = match self.process.take() {
            Some(process) => process,
            None => self.start()?,
        };
        Ok(Arc::clone(self.process.insert(process)))
    }

    fn start(&self) -> Result<Arc<Process>, String> {
        let purpose = match &self.work {
            Work::Models { store, device, warm } => {
                Purpose::Models { weights: store.weights().to_owned(), device: device.clone(), warm: warm.clone() }
            }
            Work::Sim(device) => Purpose::Sim { per_frame: device.per_frame(), canary: device.next_canary() },
        };
        self.processes.open(&purpose, self.limits, |process| self.worker.holds(process))
    }

    /// Has the process work on a batch.
    fn order(&mut self, task: &Task, images: &[&RgbImage]) -> Result<Vec<Worked>, EngineFault> {
        let fault = match &self.work {
            Work::Models { .. } => None,
            Work::Sim(device) => device.next_batch(),
        };
        let process = self.process().map_err(EngineFault::Lost)?;
        if process.has_ended() {
            return Err(EngineFault::Lost(format!("while it had nothing to do: {}", ended(&process))));
        }
        let first = images.first().ok_or_else(|| EngineFault::Batch("an empty batch".to_owned()))?;
        let order = BatchOrder {
            kind: task.kind,
            profile: serde_json::to_string(&*task.profile).map_err(|error| EngineFault::Batch(error.to_string()))?,
            width: first.width,
            height: first.height,
            count: images.len() as u32,
            fault,
        };
        let scale = u64::from(self.scale(task).map_err(EngineFault::Batch)?);
        let pictures: u64 = images.iter().map(|image| image.data.len() as u64).sum();
        if pictures.saturating_mul(scale * scale) > EXCHANGE_BYTES {
            let (count, width, height) = (images.len(), first.width, first.height);
            return Err(EngineFault::Batch(format!("{count} pictures of {width}x{height} are too large for a batch")));
        }
        let mut offset = 0;
        for image in images {
            let placed = process.exchange.write(offset, &image.data);
            placed
                .map_err(|error| EngineFault::Batch(format!("its pictures have no room in the exchange: {error}")))?;
            offset += image.data.len() as u64;
        }
        if process.channel.send(&order).is_err() {
            return Err(fault_of(&ended(&process)));
        }
        match answer(&process).map_err(|exit| fault_of(&exit))? {
            DeviceMessage::Served(served) => served.map_err(|mut reason| {
                reason.truncate(reason.floor_char_boundary(MOST_REASON_BYTES));
                EngineFault::Batch(reason)
            }),
            _ => Err(EngineFault::Engine(NONSENSE.to_owned())),
        }
    }
}

const NONSENSE: &str = "its process sent what was not asked for";

impl Engine for RemoteEngine {
    fn run(&mut self, task: &Task, images: &[&RgbImage]) -> Result<Vec<Output>, EngineFault> {
        let served = self.order(task, images)?;
        let scale = self.scale(task).map_err(EngineFault::Batch)?;
        let process = self.process().map_err(EngineFault::Engine)?;
        let mut offset = 0;
        let mut sizes: VecDeque<_> = images.iter().map(|image| (image.width * scale, image.height * scale)).collect();
        let take = |worked| match worked {
            Worked::Boxes(boxes) => Ok(Output::Boxes(boxes)),
            // One of another size, or one too many, is not read: the check of all answers refuses it.
            Worked::Image { width, height } if sizes.pop_front() != Some((width, height)) => {
                Ok(Output::Image(RgbImage { width, height, data: Vec::new() }))
            }
            Worked::Image { width, height } => {
                let mut image = RgbImage::new(width, height);
                let read = process.exchange.read(offset, &mut image.data);
                read.map_err(|error| EngineFault::Engine(format!("its answer lies beyond the exchange: {error}")))?;
                offset += image.data.len() as u64;
                Ok(Output::Image(image))
            }
        };
        let outputs = served.into_iter().map(take).collect();
        let released = process.exchange.release_behind(KEPT_BYTES);
        released.map_err(|error| EngineFault::Engine(format!("its exchange is not given back: {error}")))?;
        outputs
    }

    fn scale(&mut self, task: &Task) -> Result<u32, String> {
        match (&self.work, task.kind) {
            (Work::Models { store, .. }, TaskKind::Upscale) => {
                store.scale(&task.profile.model).map_err(|error| error.to_string())
            }
            (Work::Models { .. }, TaskKind::Detect) | (Work::Sim(_), _) => Ok(1),
        }
    }
}

/// Waits for the answer to what was sent, and logs what comes before it. Blocks, until the process is killed if need be.
///
/// # Errors
/// How the process ended.
fn answer(process: &Process) -> Result<DeviceMessage, Exit> {
    let mut log = Repeat::of("device");
    loop {
        match process.channel.receive_within(BOUNDS) {
            Ok(Some((DeviceMessage::Log(line), _))) => log.line(&line),
            Ok(Some((message, _))) => {
                // Libraries write there while they load; in the reason of a later end it would only mislead.
                for line in process.words().lines() {
                    tracing::debug!(task = "device", "{line}");
                }
                return Ok(message);
            }
            Ok(None) | Err(_) => return Err(ended(process)),
        }
    }
}

/// How a process ended that does not answer.
fn ended(process: &Process) -> Exit {
    process.killer().kill();
    process.wait()
}

/// What the end of a process in the middle of a batch says about that batch.
fn fault_of(exit: &Exit) -> EngineFault {
    match exit.ended.is_of_its_own() {
        true => EngineFault::Engine(exit.to_string()),
        false => EngineFault::Lost(exit.to_string()),
    }
}
