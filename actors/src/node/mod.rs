//! A running system on this machine: opens what it owns, starts its actors, and stops them cleanly.

mod data_dir;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Arbiter, MailboxError};
use config::{DeviceList, DeviceName, Settings};
use edits::RgbImage;
use entities::{Database, TenantId};
use models::{DeviceKind, ModelKind, ModelStore};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::detections::cache::{self, DetectionCache, HeldDetections};
use crate::exports::dispatcher::{Dispatcher, Stop, tell_of_the_dead};
use crate::inference::cost_model::CostModel;
use crate::inference::device::{
    self, DeviceHealth, DeviceSetup, DeviceState, DeviceSupervisor, EngineFactory, Load, ModelEngine, Operate,
    Operation, SimDevice, SimEngine,
};
use crate::inference::profile::{DeviceClass, ModelProfile, Profiles};
use crate::inference::queue::{self, FrameJob, FrameQueue, Task, TaskKind};
use crate::progress::hub::ProgressHub;
use crate::progress::relay::{self, NoRelay, RedisRelay, Relay};
use crate::redis_connection::RedisConnection;
use crate::settings::config_keeper::{ConfigKeeper, Versioned};
use crate::storage::{LocalStorage, Storage, StorageError};
use crate::sweeper::{self, Sweeper};
use crate::videos::frame_detection::FramePermits;
use crate::videos::import::ImportError;
use crate::videos::thumbnail::Thumbnails;
use data_dir::DataDir;

/// What a node loads at start.
#[derive(Debug, Clone, Copy)]
pub struct NodeOptions {
    /// Load and check the deployment's upscaler on every device.
    pub upscaler: bool,
    /// Load and check the deployment's detector on every device.
    pub detector: bool,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self { upscaler: true, detector: true }
    }
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("another Touchline uses {0}; stop it, or give this one its own data_dir")]
    Locked(PathBuf),
    #[error("{doing} {path}: {source}")]
    Io { doing: &'static str, path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Database(#[from] entities::Error),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("sweeping what a crash left: {0}")]
    Sweep(#[from] ImportError),
    #[error(transparent)]
    Models(#[from] models::ModelError),
    #[error("redis.url: {0}")]
    Redis(String),
    #[error("devices.list: {0}")]
    Devices(String),
}

/// What the actors of one node share.
pub struct NodeContext {
    pub db: Database,
    pub settings: Settings,
    pub storage: Arc<dyn Storage>,
    pub live: watch::Receiver<Arc<Versioned>>,
    pub queue: Arc<FrameQueue>,
    pub profiles: Arc<Profiles>,
    /// How long devices take, for fairness and estimates.
    pub costs: Arc<CostModel>,
    /// None where every device only simulates.
    pub models: Option<Arc<ModelStore>>,
    /// Unfinished files; emptied at start.
    pub work_dir: PathBuf,
    /// The name under which this node holds leases.
    pub owner: String,
    /// Frames of one segment that may be on their way through the devices.
    pub window: usize,
    /// Segments rendered side by side.
    pub segment_slots: usize,
    pub device_count: usize,
    /// Single frames that are being looked at.
    pub frame_permits: FramePermits,
    /// Small pictures of videos.
    pub thumbnails: Thumbnails,
    pub detections: Addr<DetectionCache>,
    pub progress: Addr<ProgressHub>,
}

/// Handles to a running node. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    pub context: Arc<NodeContext>,
    pub db: Database,
    pub storage: Arc<dyn Storage>,
    pub dispatcher: Addr<Dispatcher>,
    pub detections: Addr<DetectionCache>,
    /// What `detections` has at hand; asked first.
    pub held_detections: HeldDetections,
    pub progress: Addr<ProgressHub>,
    pub config: Addr<ConfigKeeper>,
    pub live: watch::Receiver<Arc<Versioned>>,
    /// The way to the Redis that nodes share, where there is one.
    pub redis: Option<RedisConnection>,
    devices: Arc<Vec<watch::Receiver<DeviceState>>>,
    supervisors: Arc<Vec<Addr<DeviceSupervisor>>>,
    /// Held for the node's life: one process a data folder.
    _own: Arc<DataDir>,
}

/// Whether a node can serve.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Readiness {
    /// At least one device serves, and of each it is known whether it does: its models are loaded and have answered
    /// their canaries, or it failed to.
    pub ready: bool,
    /// The devices that are not ready, and `redis` while a Redis that is set does not answer: this node goes on
    /// without it.
    #[schema(value_type = Vec<String>)]
    pub degraded: Vec<Arc<str>>,
    pub devices: Vec<DeviceState>,
}

impl Node {
    /// Starts a node. Must be called inside an actix system.
    pub async fn start(settings: Settings, options: NodeOptions) -> Result<Self, StartError> {
        let data_dir = absolute(&settings.data_dir)?;
        let own = DataDir::lock(&data_dir)?;
        let work_dir = emptied(data_dir.join("work"))?;
        let db = entities::connect(&settings.database.url).await?;
        let media = settings.storage.folder().unwrap_or_else(|| data_dir.join("media"));
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(absolute(&media)?)?);
        let (keeper, live) = ConfigKeeper::new(db.clone(), settings.live()).await?;

        let names = device_names(&settings)?;
        let (models, folder) = open_models(&settings, &names)?.unzip();
        let keep_dir = keep_dir(folder.as_deref(), &data_dir);
        let (class, kind) = (class_of(&names[0]), kind_of(&names[0], &settings));
        let profiles = Arc::new(Profiles::new(class, kind, models.clone(), keep_dir));
        let warm = warm_models(&profiles, &live.borrow(), models.as_deref(), options).await?;

        let setups = device_setups(&settings, &names, models.as_ref(), &warm);
        let in_flight: usize = setups.iter().map(|setup| 2 * setup.batch).sum();
        let queue = Arc::new(FrameQueue::new(in_flight + 2, MOST_CREDIT));
        let (supervisors, devices) = start_devices(setups, &queue);
        actix::spawn(queue::observe(Arc::downgrade(&queue)));

        let redis = connect_redis(&settings).await?;
        let detections = DetectionCache::new(db.clone(), redis.clone());
        let (held_detections, detections) = (detections.ready(), detections.start());
        if let Some(redis) = &redis {
            actix::spawn(cache::follow(redis.hear(cache::TOPIC), detections.clone()));
        }
        let progress = start_progress(&db, redis.as_ref());
        let owner = if db.is_shared() { own.name.to_string() } else { "embedded".to_owned() };
        let keeper = keeper.knowing(models.clone());
        let costs = Arc::new(CostModel::new(settings.devices.sim_frame_ms / 1e3));
        let context = Arc::new(NodeContext {
            db: db.clone(),
            settings,
            storage: Arc::clone(&storage),
            live: live.clone(),
            queue,
            profiles,
            costs,
            models,
            work_dir,
            owner,
            window: in_flight + 2,
            segment_slots: segment_slots(class, names.len()),
            device_count: names.len(),
            frame_permits: FramePermits::default(),
            thumbnails: Thumbnails::default(),
            detections: detections.clone(),
            progress: progress.clone(),
        });
        let found = sweeper::before_work(&context).await?;
        // Nobody else can hold leases under this name: what a killed process had in hand goes on at once.
        let swept = entities::jobs::take_back(&db, &context.owner).await?;
        tell_of_the_dead(&context, &swept).await?;
        let dispatcher = Dispatcher::new(Arc::clone(&context)).start();
        Sweeper::new(Arc::clone(&context), dispatcher.clone(), found).start();
        Ok(Self {
            context,
            db,
            storage,
            dispatcher,
            detections,
            held_detections,
            progress,
            config: keeper.start(),
            live,
            redis,
            devices: Arc::new(devices),
            supervisors: Arc::new(supervisors),
            _own: Arc::new(own),
        })
    }

    /// Whether the devices can serve now.
    pub fn readiness(&self) -> Readiness {
        let devices: Vec<_> = self.devices.iter().map(|device| device.borrow().clone()).collect();
        let serves = devices.iter().any(|device| device.health.serves());
        let starting = devices.iter().any(DeviceState::is_starting);
        let degraded = devices.iter().filter(|device| device.health != DeviceHealth::Ready);
        let mut degraded: Vec<Arc<str>> = degraded.map(|device| device.id.clone()).collect();
        if self.redis.as_ref().is_some_and(|redis| !redis.is_up()) {
            degraded.push("redis".into());
        }
        Readiness { ready: serves && !starting, degraded, devices }
    }

    /// Waits until every device has tried to start and one of them serves.
    ///
    /// # Errors
    /// What the last of the devices said, when all went out of service.
    pub async fn ready(&self) -> Result<(), String> {
        const GONE: &str = "a device's supervisor is gone";
        for device in self.devices.iter() {
            device.clone().wait_for(|state| !state.is_starting()).await.map_err(|_| GONE)?;
        }
        let mut reason = "there is no device".to_owned();
        for device in self.devices.iter() {
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

    /// Does something to a device, until the process ends. Answers with its state afterwards; None: there is no such
    /// device.
    ///
    /// # Errors
    /// When the device's supervisor does not answer.
    pub async fn operate(&self, device: &str, operation: Operation) -> Result<Option<DeviceState>, MailboxError> {
        let found = self.devices.iter().position(|state| *state.borrow().id == *device);
        match found {
            Some(place) => self.supervisors[place].send(Operate(operation)).await.map(Some),
            None => Ok(None),
        }
    }

    /// Has every device that serves load a model; nothing happens when there is no such model. Devices finish what they have in
    /// hand first; [`DeviceState::models`] tells when one is done. The first time a model is used here it is measured,
    /// which takes seconds.
    ///
    /// # Errors
    /// When the model's file cannot be read or used.
    pub async fn load_model(&self, name: &str) -> Result<(), models::ModelError> {
        let Some(kind) = self.context.models.as_ref().and_then(|store| store.kind(name).ok()) else {
            return Ok(());
        };
        let kind = match kind {
            ModelKind::Upscaler => TaskKind::Upscale,
            ModelKind::Detector => TaskKind::Detect,
        };
        let (profiles, model) = (Arc::clone(&self.context.profiles), name.to_owned());
        let measured = tokio::task::spawn_blocking(move || profiles.of(&model)).await;
        let profile = measured.expect("measuring does not panic")?;
        let black = Arc::new(RgbImage::new(LOAD_SIDE, LOAD_SIDE));
        for supervisor in self.supervisors.iter() {
            let task = Task { kind, profile: Arc::clone(&profile) };
            let (job, answer) = FrameJob::interactive(TenantId::from(Uuid::nil()), task, Arc::clone(&black), 0.0);
            if let Err(error) = supervisor.send(Load(job)).await {
                tracing::warn!(%error, model = name, "a device does not load a model");
            }
            // Somebody has to wait for the answer, or nobody would serve the frame.
            actix::spawn(async move { drop(tokio::time::timeout(LOAD_WITHIN, answer).await) });
        }
        Ok(())
    }

    /// How many devices there are.
    pub fn device_count(&self) -> usize {
        self.devices.len()
    }

    /// Stops rendering, gives leases back and closes the queue. Unfinished segments go on at the next start.
    pub async fn stop(&self) {
        self.context.queue.close();
        if self.dispatcher.send(Stop).await.is_err() {
            tracing::error!("the dispatcher was gone before the node stopped");
        }
    }
}

/// Side of the black picture by which a model is loaded, in pixels: the least that every network takes.
const LOAD_SIDE: u32 = 64;
/// How long a device may be busy before it loads a model that it was asked to.
const LOAD_WITHIN: Duration = Duration::from_secs(300);
/// Device seconds that a tenant of weight 1 catches up with after a moment without a waiting frame: what its share of
/// several devices comes to while one segment ends and the next begins.
const MOST_CREDIT: f64 = 1.0;
/// Frames in a batch on a GPU, unless the settings say otherwise.
const GPU_BATCH: usize = 4;

/// How long the first connection to Redis may take; a node whose Redis is away starts all the same.
const REDIS_CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

async fn connect_redis(settings: &Settings) -> Result<Option<RedisConnection>, StartError> {
    if settings.redis.url.is_empty() {
        return Ok(None);
    }
    let redis = RedisConnection::start(&settings.redis.url).map_err(|error| StartError::Redis(error.to_string()))?;
    redis.wait_up(REDIS_CONNECT_TIMEOUT).await;
    Ok(Some(redis))
}

fn start_progress(db: &Database, redis: Option<&RedisConnection>) -> Addr<ProgressHub> {
    let relay: Arc<dyn Relay> = match redis {
        Some(redis) => Arc::new(RedisRelay::new(redis.clone())),
        None => Arc::new(NoRelay { shared_database: db.is_shared() }),
    };
    let hub = ProgressHub::new(db.clone(), relay).start();
    if let Some(redis) = redis {
        actix::spawn(relay::follow(redis.clone(), hub.clone()));
    }
    hub
}

fn absolute(path: &Path) -> Result<PathBuf, StartError> {
    std::path::absolute(path).map_err(|source| StartError::Io { doing: "finding", path: path.to_owned(), source })
}

fn emptied(folder: PathBuf) -> Result<PathBuf, StartError> {
    let empty = || -> std::io::Result<()> {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)
    };
    empty().map_err(|source| StartError::Io { doing: "emptying", path: folder.clone(), source })?;
    Ok(folder)
}

fn device_names(settings: &Settings) -> Result<Vec<DeviceName>, StartError> {
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

fn class_of(name: &DeviceName) -> DeviceClass {
    match name {
        DeviceName::Cuda(_) => DeviceClass::Cuda,
        DeviceName::Cpu(_) => DeviceClass::Cpu,
        DeviceName::Sim(_) => DeviceClass::Sim,
    }
}

fn kind_of(name: &DeviceName, settings: &Settings) -> Option<DeviceKind> {
    match name {
        DeviceName::Cuda(index) => Some(DeviceKind::Cuda { index: *index }),
        DeviceName::Cpu(_) => Some(DeviceKind::Cpu { threads: settings.devices.cpu_threads }),
        DeviceName::Sim(_) => None,
    }
}

/// Segments that are rendered side by side. Devices beside the processor want one more than there are of them, so that
/// none waits while a segment begins, and cores that decode and encode; where devices are cores, more would only get
/// into each other's way.
fn segment_slots(class: DeviceClass, devices: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match class {
        DeviceClass::Cpu => cores.max(2),
        DeviceClass::Cuda | DeviceClass::Sim => (devices + 1).max(cores).max(2),
    }
}

/// The models and the folder they are in; None where every device only simulates.
fn open_models(settings: &Settings, names: &[DeviceName]) -> Result<Option<(Arc<ModelStore>, PathBuf)>, StartError> {
    if names.iter().all(|name| class_of(name) == DeviceClass::Sim) {
        return Ok(None);
    }
    let folder = ModelStore::locate(&settings.models.dir)?;
    let store = ModelStore::open(&folder)?;
    Ok(Some((Arc::new(store), folder)))
}

/// Where measured winners are kept: with the models where that can be written, so that the private data folder of one
/// render does not measure again; else with the data.
fn keep_dir(models: Option<&Path>, data_dir: &Path) -> PathBuf {
    let writable = |folder: &&Path| tempfile::tempfile_in(folder).is_ok();
    models.filter(writable).unwrap_or(data_dir).to_owned()
}

/// The models to load at start, in their profiles. Measures the first time: off the arbiter.
async fn warm_models(
    profiles: &Arc<Profiles>,
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
    let profiles = Arc::clone(profiles);
    let measure = move || {
        let measured = wanted.into_iter().map(|(kind, model)| Ok((kind, profiles.of(&model)?)));
        measured.collect::<Result<Vec<_>, models::ModelError>>()
    };
    Ok(tokio::task::spawn_blocking(measure).await.expect("measuring does not panic")?)
}

fn device_setups(
    settings: &Settings,
    names: &[DeviceName],
    models: Option<&Arc<ModelStore>>,
    warm: &[(TaskKind, Arc<ModelProfile>)],
) -> Vec<DeviceSetup> {
    let setup = |name: &DeviceName| {
        let factory: EngineFactory = match (kind_of(name, settings), models) {
            (Some(kind), Some(store)) => {
                let (store, warm) = (Arc::clone(store), warm.to_vec());
                Arc::new(move || Ok(Box::new(ModelEngine::load(Arc::clone(&store), kind.clone(), &warm)?)))
            }
            _ => {
                let per_frame = Duration::from_secs_f64(settings.devices.sim_frame_ms / 1e3);
                let device = Arc::new(SimDevice::new(per_frame, settings.devices.sim_of(*name)));
                Arc::new(move || Ok(Box::new(SimEngine::load(Arc::clone(&device))?)))
            }
        };
        let class = class_of(name);
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

/// Starts the supervisors on an arbiter of their own, so that no HTTP handler delays a batch.
fn start_devices(
    setups: Vec<DeviceSetup>,
    queue: &Arc<FrameQueue>,
) -> (Vec<Addr<DeviceSupervisor>>, Vec<watch::Receiver<DeviceState>>) {
    let arbiter = Arbiter::new();
    let start = |setup| {
        let (supervisor, watched) = DeviceSupervisor::new(setup, Arc::clone(queue));
        (DeviceSupervisor::start_in_arbiter(&arbiter.handle(), |_| supervisor), watched)
    };
    setups.into_iter().map(start).unzip()
}
