//! Touchline's running system: services for handlers and commands, and the actors behind them, which render exports on
//! devices and publish their progress.
//!
//! In reading order:
//!
//! * [`node`]: opens what a node owns, starts the actors, stops them.
//! * [`exports`]: requests, the dispatcher that claims jobs, the coordinator of one export, segment jobs.
//! * [`videos`]: importing files; thumbnails and detections of single frames.
//! * [`processes`]: render processes, in which everything runs that reads a tenant's file.
//! * [`render`]: one export kind a file, the only place where media meets models.
//! * [`inference`]: the frame queue and the devices that serve it, numeric profiles, expected costs.
//! * [`progress`], [`detections`], [`settings`]: what subscribers, readers and operators use.
//! * `context`: what the services and actors of a node share; `sources`: opening the sources that a request names;
//!   `threads`: blocking work; `sweeper`: retention; `orphans`: files without a row; `removals`: files of what is gone,
//!   and `file_remover`, which tries again where that failed.
//! * [`redis_connection`]: the connection to a Redis that several nodes share; [`ephemeral`]: values with a time to live.
//! * [`storage`]: where files are kept; [`checksum`]: their SHA-256. [`webhooks`]: notifying receivers of tenants.
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

pub mod checksum;
mod context;
pub mod detections;
pub mod ephemeral;
pub mod exports;
pub mod failpoints;
mod file_remover;
pub mod inference;
pub mod metrics;
pub mod node;
mod orphans;
pub mod processes;
pub mod progress;
pub mod redis_connection;
mod removals;
pub mod render;
pub mod settings;
pub mod sources;
pub mod storage;
mod sweeper;
pub mod threads;
pub mod videos;
pub mod webhooks;

pub use node::{Node, NodeOptions};
