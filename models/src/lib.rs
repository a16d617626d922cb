//! Super-resolution and person detection: from published weights to pictures and boxes.
//!
//! This crate handles tensors and is independent of videos, tenants and actors. Its parts, in reading order:
//!
//! 1. [`ModelStore`] reads `manifest.toml`: which models there are, where they come from, and the SHA-256 of each.
//! 2. [`bake`] converts the published weights (ncnn, TensorFlow.js) to ONNX once, at set-up; [`verify`] and [`list`]
//!    report what is there and what this machine can run it on.
//! 3. [`DeviceKind`] names a share of the processor or a GPU; the `device` module has one file per ONNX Runtime
//!    execution provider.
//! 4. [`choose_profile`] measures the providers and precisions a device offers, once, and keeps the winner: the
//!    [`NumericProfile`] that fixes every bit of the results.
//! 5. [`Upscaler`] and [`Detector`] run a model under a profile; their `canary` checks a picture with a recorded
//!    answer before they get work.
//!
//! ```no_run
//! use models::{DeviceKind, ModelStore, Upscaler, choose_profile};
//! use std::path::Path;
//!
//! # fn main() -> Result<(), models::ModelError> {
//! let store = ModelStore::open(&ModelStore::locate(Path::new("models/weights"))?)?;
//! let device = DeviceKind::Cpu { threads: 1 };
//! let profile = choose_profile(&store, "realesr-animevideov3-x4", &device, Path::new("data"))?;
//! let mut upscaler = Upscaler::load(&store, &profile, &device)?;
//! upscaler.canary()?;
//! let frame = edits::RgbImage::new(240, 136);
//! let four_times_as_large = upscaler.infer(&[&frame])?;
//! # Ok(())
//! # }
//! ```

mod bake;
mod canary;
mod checksum;
mod choose;
mod detector;
mod device;
mod error;
mod letterbox;
mod manifest;
mod network;
mod pixels;
mod profile;
mod runtime;
mod status;
mod store;
mod upscaler;
mod write;

#[cfg(test)]
mod tests;

pub use bake::{Baked, bake};
pub use choose::{Trial, canary_answer, choose_profile, kept_profile, trial};
pub use detector::Detector;
pub use device::{DeviceKind, Gpu, Offer, gpus};
pub use error::ModelError;
pub use manifest::{Family, ModelKind};
pub use network::check_profile;
pub use profile::{NumericProfile, Precision, Provider};
pub use status::{ModelStatus, list, verify};
pub use store::ModelStore;
pub use upscaler::Upscaler;
