//! Touchline's running system: actors that take exports in, render them on devices, and tell how they are doing.
//!
//! In reading order:
//!
//! * [`node`]: opens what a node owns, starts the actors, stops them.
//! * [`dispatcher`]: takes requests in ([`accept`], [`marks`], [`ingest`], [`sources`]) and claims jobs.
//! * [`export_actor`]: coordinates one export; [`segment_job`] makes one of its parts.
//! * [`render`]: one export kind a file, the only place where media meets models.
//! * [`frame_queue`] and [`device`]: where frames wait, and who serves them; [`ledger`]: whose turn it is; [`profile`]
//!   keeps results equal.
//! * [`limits`]: how much a tenant may ask for; [`model_names`]: which models. [`single_frame`]: one frame searched at once, beside the exports; [`thumbnail`]: one shown; [`estimate`]: what one would take, by [`speeds`].
//! * [`progress_hub`], [`detection_cache`], [`config_keeper`]: what listeners, readers and operators talk to.
//! * [`link`]: the way to a Redis that several nodes share; behind it, and beside the same in memory, [`cache`] keeps
//!   ready answers, [`relay`] brings progress to other nodes, and [`brief`] keeps what lives for seconds.
//! * [`retry`]: another attempt of an export; [`trouble`]: why one failed; [`sweeper`]: what goes with time.
//! * [`webhooks`]: telling others what happened.
//! * [`storage`]: where files are kept. [`faults`]: what goes wrong on purpose. [`measures`]: what is counted.
//!
//! Actors pass small messages, never frames. Decoding, inference and encoding run on named threads
//! (`decode-…`, `device-…`, `encode-…`), never on an arbiter. Mailboxes are bounded: what can fill one is awaited or
//! refused.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = config::Settings::load(None)?;
//! let node = actors::Node::start(settings, actors::NodeOptions::default()).await?;
//! node.ready().await?;
//! node.stop().await;
//! # Ok(()) }
//! ```

pub mod accept;
pub mod brief;
pub mod cache;
pub mod config_keeper;
pub mod detection_cache;
pub mod device;
pub mod dispatcher;
pub mod estimate;
pub mod export_actor;
pub mod faults;
pub mod folder;
pub mod frame_queue;
pub mod ingest;
pub mod ledger;
pub mod limits;
pub mod link;
pub mod marks;
pub mod measures;
pub mod model_names;
pub mod node;
pub mod profile;
pub mod progress_hub;
pub mod relay;
pub mod render;
pub mod report;
pub mod retry;
pub mod running;
pub mod segment_job;
pub mod single_frame;
pub mod sources;
pub mod speeds;
pub mod storage;
pub mod sweeper;
pub mod thumbnail;
pub mod trouble;
pub mod webhooks;

pub use accept::{AcceptError, NewRequest};
pub use config_keeper::{Author, ChangeError, GetConfig, PatchConfig, RollBack, Versioned};
pub use detection_cache::{CachedDetections, GetDetections, ReadyAnswers};
pub use dispatcher::{CancelExport, DeleteExport, ExportsCancelled, ImportVideo, RetryExport, StartExport};
pub use estimate::Estimate;
pub use ingest::{ImportError, Indexing, NewSource};
pub use limits::LimitReached;
pub use node::{Node, NodeOptions, Readiness, StartError};
pub use progress_hub::{GetLatest, Progress, Subscribe, SubscribeError, SubscriptionId, Unsubscribe};
