//! The SeaORM entities, one table a file, each with the enums of its columns. Private: other crates see the rows
//! (`Model`s) and enums under the names that the modules of the crate give them. This module uses the typed ids and
//! nothing else of the crate.

pub mod api_key;
pub mod audit;
pub mod clip;
pub mod config_version;
pub mod deployment;
pub mod detection;
pub mod detection_version;
pub mod export;
pub mod export_source;
pub mod export_spec;
pub mod fair_share;
pub mod file_removal;
pub mod frame_index;
pub mod idempotency_key;
pub mod job;
pub mod link;
pub mod reel;
pub mod refresh_token;
pub mod segment;
pub mod tenant;
pub mod tenant_limits;
pub mod upload;
pub mod usage;
pub mod usage_device;
pub mod user;
pub mod video;
pub mod webhook;
pub mod webhook_delivery;
