//! A running node: opens what it owns, starts its actors, and stops them cleanly.

mod data_dir;
mod devices;
mod error;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use actix::{Actor, Addr};
use config::Settings;
use entities::Database;
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use crate::context::NodeContext;
use crate::detections::cache::{self, DetectionCache};
use crate::detections::service::Detections;
use crate::exports::dispatcher::{Dispatcher, Stop, Wake, publish_failed};
use crate::exports::service::Exports;
use crate::file_remover::FileRemover;
use crate::inference::cost_model::CostModel;
use crate::inference::device::{DeviceHealth, DeviceState};
use crate::inference::queue::{self, FrameQueue};
use crate::orphans;
use crate::processes::owner::RenderProcesses;
use crate::progress::hub::ProgressHub;
use crate::progress::relay::{NoRelay, RedisRelay, Relay};
use crate::progress::remote;
use crate::progress::service::ProgressFeed;
use crate::redis_connection::RedisConnection;
use crate::settings::config_keeper::{ConfigKeeper, Versioned};
use crate::settings::service::LiveSettings;
use crate::storage::{LocalStorage, Storage, adoption};
use crate::sweeper::Sweeper;
use crate::videos::service::Videos;
use data_dir::DataDir;
pub use devices::{Devices, keep_dir};
pub use error::StartError;

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

/// The services of a running node. Cheap to clone.
#[derive(Clone)]
pub struct Node {
    pub exports: Exports,
    pub videos: Videos,
    pub detections: Detections,
    pub devices: Devices,
    pub progress: ProgressFeed,
    pub config: LiveSettings,
    /// The settings that change while the node runs.
    pub live: watch::Receiver<Arc<Versioned>>,
    /// The connection to the Redis that nodes share, where there is one.
    pub redis: Option<RedisConnection>,
    context: Arc<NodeContext>,
    dispatcher: Addr<Dispatcher>,
    /// Held for the node's life: one process a data folder.
    _data_dir: Arc<DataDir>,
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

/// Device seconds that a tenant of weight 1 catches up with after a moment without a waiting frame: its share of
/// several devices while one segment ends and the next begins.
const MOST_CREDIT: f64 = 1.0;
/// How long a stop waits for the node's jobs to end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

impl Node {
    /// Starts a node. Must be called inside an actix system.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(settings: Settings, options: NodeOptions) -> Result<Self, StartError> {
        let dir = absolute(&settings.data_dir)?;
        let data_dir = DataDir::lock(&dir)?;
        let work_dir = emptied(dir.join("work"))?;
        let db = entities::connect(&settings.database.url).await?;
        let media = settings.storage.folder().unwrap_or_else(|| dir.join("media"));
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(absolute(&media)?)?);
        // Before anything that removes a file: another database knows none of them.
        adoption::claim(&db, &storage, (&settings.storage.url, &settings.database.url)).await?;
        let started = SystemTime::now();
        let (keeper, live) = ConfigKeeper::new(db.clone(), settings.live()).await?;

        let names = devices::names(&settings)?;
        let (models, folder) = devices::open_models(&settings, &names)?.unzip();
        let keep_dir = devices::keep_dir(folder.as_deref(), &dir);
        let device_processes = Arc::default();
        let profiles = devices::profiles(&settings, &names[0], models.as_ref(), keep_dir, &device_processes);
        let profiles = Arc::new(profiles);
        let warm = devices::warm_models(&profiles, &live.borrow(), models.as_deref(), options).await?;
        let setups = devices::setups(&settings, &names, models.as_ref(), &warm, &device_processes);
        let in_flight: usize = setups.iter().map(|setup| 2 * setup.batch).sum();
        let queue = Arc::new(FrameQueue::new(in_flight + 2, MOST_CREDIT));
        let devices = Devices::start(setups, Arc::clone(&queue), Arc::clone(&profiles), models.clone());
        actix::spawn(queue::observe(Arc::downgrade(&queue)));

        let processes = RenderProcesses::new(&settings.processes);
        processes.check().await.map_err(StartError::Confinement)?;
        let redis = connect_redis(&settings).await?;
        let (detections, cache) = start_detections(&db, redis.as_ref());
        let owner = if db.is_shared() { data_dir.name.to_string() } else { "embedded".to_owned() };
        let context = Arc::new(NodeContext {
            costs: Arc::new(CostModel::new(settings.devices.sim_frame_ms / 1e3)),
            db: db.clone(),
            settings,
            storage,
            live: live.clone(),
            processes: Arc::new(processes),
            queue,
            profiles,
            models: models.clone(),
            work_dir,
            owner,
            window: in_flight + 2,
            segment_slots: devices::segment_slots(devices::class_of(&names[0]), names.len()),
            device_count: names.len(),
            detections: cache,
            progress: start_progress(&db, redis.as_ref()),
        });
        orphans::before_work(&context).await?;
        // No other process holds leases under this name: the jobs of a killed one continue at once.
        let swept = entities::jobs::take_back(&db, &context.owner).await?;
        publish_failed(&context, &swept);
        swept.error.map_or(Ok(()), Err)?;
        let dispatcher = Dispatcher::new(Arc::clone(&context)).start();
        follow_wakeups(&db, dispatcher.clone()).await?;
        FileRemover::new(Arc::clone(&context), dispatcher.clone()).start();
        let exports = Exports::new(Arc::clone(&context), dispatcher.clone());
        let videos = Videos::new(Arc::clone(&context), exports.clone());
        let unprocessed = videos.clone();
        actix::spawn(async move { unprocessed.index_unprocessed().await });
        Sweeper::new(Arc::clone(&context), exports.clone(), started).start();
        Ok(Self {
            exports,
            videos,
            detections,
            devices,
            progress: ProgressFeed::new(context.progress.clone()),
            config: LiveSettings::new(keeper.knowing(models).start()),
            live,
            redis,
            context,
            dispatcher,
            _data_dir: Arc::new(data_dir),
        })
    }

    /// The settings with which the node was started.
    pub fn settings(&self) -> &Settings {
        &self.context.settings
    }

    /// The node's rows.
    pub fn database(&self) -> &Database {
        &self.context.db
    }

    /// Whether the node can serve now.
    pub fn readiness(&self) -> Readiness {
        let devices = self.devices.states();
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
    /// The last device's reason, when all went out of service.
    pub async fn ready(&self) -> Result<(), String> {
        self.devices.ready().await
    }

    /// Stops rendering, releases leases and closes the queue. Unfinished segments go on at the next start.
    pub async fn stop(&self) {
        self.context.queue.close();
        self.videos.stop_indexing().await;
        match tokio::time::timeout(STOP_PATIENCE, self.dispatcher.send(Stop)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("the dispatcher had stopped before the node"),
            Err(_) => tracing::warn!("jobs did not stop in time; their leases run out"),
        }
    }
}

/// Wakes the dispatcher when another node has enqueued jobs, on a database that sends notifications.
async fn follow_wakeups(db: &Database, dispatcher: Addr<Dispatcher>) -> Result<(), StartError> {
    let Some(mut wakeups) = db.job_wakeups().await? else { return Ok(()) };
    actix::spawn(async move {
        loop {
            if let Err(error) = wakeups.next().await {
                tracing::warn!(%error, "listening for new jobs failed; the poll goes on finding them");
                tokio::time::sleep(WAKEUPS_PAUSE).await;
            }
            if dispatcher.send(Wake).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// Pause before listening again.
const WAKEUPS_PAUSE: Duration = Duration::from_secs(1);

fn start_detections(db: &Database, redis: Option<&RedisConnection>) -> (Detections, Addr<DetectionCache>) {
    let cache = DetectionCache::new(db.clone(), redis.cloned());
    let (held, cache) = (cache.ready(), cache.start());
    if let Some(redis) = redis {
        actix::spawn(cache::follow(redis.subscribe(cache::TOPIC), cache.clone()));
    }
    (Detections::new(cache.clone(), held), cache)
}

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
        actix::spawn(remote::follow(redis.clone(), hub.clone()));
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
