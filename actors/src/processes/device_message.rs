//! What a device process and its owner say to each other. Pictures lie in the exchange, one behind the other.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::SimFault;
use models::DeviceKind;
use serde::{Deserialize, Serialize};

use super::message::{Line, Threshold, Worked};
use crate::inference::profile::ModelProfile;
use crate::inference::queue::TaskKind;

/// What a device process is given first.
#[derive(Debug, Serialize, Deserialize)]
pub struct Opening {
    /// [`Purpose`] as JSON, which has names for what postcard cannot tell apart.
    pub purpose: String,
    pub log: Threshold,
}

/// What it is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Purpose {
    /// Models of the folder `weights` on a device; those of `warm` are loaded and checked by their canaries at once.
    Models { weights: PathBuf, device: DeviceKind, warm: Vec<(TaskKind, Arc<ModelProfile>)> },
    /// A simulated device, and what goes wrong in its canary.
    Sim { per_frame: Duration, canary: Option<SimFault> },
    /// To measure in which numeric profile a device runs a model; the choice is kept in the folder `keep_dir`, and the
    /// process ends.
    Measure { weights: PathBuf, device: DeviceKind, model: String, keep_dir: PathBuf },
}

/// Pictures of one size that are to be worked on.
#[derive(Debug, Serialize, Deserialize)]
pub struct BatchOrder {
    pub kind: TaskKind,
    /// A [`ModelProfile`] as JSON.
    pub profile: String,
    pub width: u32,
    pub height: u32,
    pub count: u32,
    /// What a simulated device does wrong in it.
    pub fault: Option<SimFault>,
}

/// What a device process sends.
#[derive(Debug, Serialize, Deserialize)]
pub enum DeviceMessage {
    /// The answer to its [`Opening`]; an error is its last message.
    Opened(Result<(), String>),
    /// The answer to a [`BatchOrder`]: one for each picture, in order. Pictures lie in the exchange in place of those that
    /// were sent.
    Served(Result<Vec<Worked>, String>),
    /// It logged something.
    Log(Line),
}
