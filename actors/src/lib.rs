//! Touchline's running system: actors that take exports in, render them on devices, and tell how they are doing.
//!
//! In reading order:
//!
//! * [`node`]: opens what a node owns, starts the actors, stops them.
//! * [`exports`]: requests, the dispatcher that claims jobs, the coordinator of one export, segment jobs.
//! * [`videos`]: importing files; thumbnails and detections of single frames.
//! * [`render`]: one export kind a file, the only place where media meets models.
//! * [`inference`]: the frame queue and the devices that serve it, numeric profiles, expected costs.
//! * [`progress`], [`detections`], [`settings`]: what subscribers, readers and operators use.
//! * [`redis_connection`]: the connection to a Redis that several nodes share; [`ephemeral`]: values with a time to live.
//! * [`storage`]: where files are kept. [`sweeper`]: retention. [`webhooks`]: notifying receivers of tenants.
//! * [`failpoints`]: faults that tests inject. [`metrics`]: what is counted.
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

pub mod detections;
pub mod ephemeral;
pub mod exports;
pub mod failpoints;
pub mod inference;
pub mod metrics;
pub mod node;
pub mod progress;
pub mod redis_connection;
pub mod render;
pub mod settings;
pub mod storage;
pub mod sweeper;
pub mod videos;
pub mod webhooks;

pub use detections::cache::{CachedDetections, GetDetections, HeldDetections};
pub use exports::dispatcher::{CancelExport, DeleteExport, ExportsCancelled, ImportVideo, RetryExport, StartExport};
pub use exports::estimate::Estimate;
pub use exports::request::{NewRequest, RequestError};
pub use node::{Node, NodeOptions, Readiness, StartError};
pub use progress::hub::{GetLatest, Progress, Subscribe, SubscribeError, SubscriptionId, Unsubscribe};
pub use settings::config_keeper::{Author, ChangeError, GetConfig, PatchConfig, RollBack, Versioned};
pub use settings::tenant_limits::LimitReached;
pub use videos::import::{ImportError, Indexing, NewSource};
