//! Devices and what they can run: one file per ONNX Runtime execution provider.
//!
//! Each provider reports which precisions it offers on a device of this machine, with the reason where it does not, and
//! how a session is configured for it. Nothing here is assumed: a provider counts when its library lies beside ONNX
//! Runtime and the hardware it needs is seen.

mod cpu;
mod cuda;
mod openvino;
mod tensorrt;

pub use cuda::{Gpu, gpus};

use crate::{ModelError, Precision, Provider};
use ort::ep::ExecutionProviderDispatch;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// Where a session runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum DeviceKind {
    /// A share of the processor: this many cores' worth of threads.
    Cpu { threads: usize },
    /// An NVIDIA GPU by its index.
    Cuda { index: u32 },
}

impl DeviceKind {
    /// The hardware's model, with the instruction sets that decide which kernels run: part of the numeric profile.
    pub fn name(&self) -> String {
        match self {
            Self::Cpu { .. } => cpu::name(),
            Self::Cuda { index } => gpus()
                .into_iter()
                .find(|gpu| gpu.index == *index)
                .map_or_else(|| format!("no NVIDIA GPU {index}"), |gpu| gpu.name),
        }
    }

    /// Threads of one session; GPUs need none of ours.
    pub(crate) fn threads(&self) -> usize {
        match self {
            Self::Cpu { threads } => (*threads).max(1),
            Self::Cuda { .. } => 0,
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu { threads: 1 } => f.write_str("cpu, 1 thread"),
            Self::Cpu { threads } => write!(f, "cpu, {threads} threads"),
            Self::Cuda { index } => write!(f, "cuda:{index}"),
        }
    }
}

/// A provider and precision, and whether this machine has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offer {
    pub device: String,
    pub provider: Provider,
    pub precision: Precision,
    pub offered: bool,
    /// Why not, when it is not offered.
    pub reason: Option<String>,
}

/// All that could run on `device`, with the ONNX Runtime in `runtime_folder`; fp32 comes before reduced precisions.
pub(crate) fn offers(device: &DeviceKind, runtime_folder: &Path) -> Vec<Offer> {
    let checks: Vec<(Provider, Precision, Result<(), String>)> = match device {
        DeviceKind::Cpu { .. } => vec![
            (Provider::Cpu, Precision::Fp32, Ok(())),
            (Provider::OpenVino, Precision::Fp32, openvino::present(runtime_folder)),
            (Provider::OpenVino, Precision::Bf16, openvino::present(runtime_folder).and_then(|()| cpu::has_bf16())),
        ],
        DeviceKind::Cuda { index } => vec![
            (Provider::Cuda, Precision::Fp32, cuda::present(runtime_folder, *index)),
            (Provider::TensorRt, Precision::Fp16, tensorrt::present(runtime_folder, *index)),
        ],
    };
    checks
        .into_iter()
        .map(|(provider, precision, check)| Offer {
            device: device.to_string(),
            provider,
            precision,
            offered: check.is_ok(),
            reason: check.err().map(|why| format!("not on this machine: {why}")),
        })
        .collect()
}

/// Refuses what `device` does not offer, with the reason.
pub(crate) fn require(
    device: &DeviceKind,
    provider: Provider,
    precision: Precision,
    runtime_folder: &Path,
) -> Result<(), ModelError> {
    let offer = offers(device, runtime_folder)
        .into_iter()
        .find(|offer| offer.provider == provider && offer.precision == precision);
    let reason = match offer {
        Some(Offer { offered: true, .. }) => return Ok(()),
        Some(Offer { reason, .. }) => reason.unwrap_or_default(),
        None => format!("{device} knows no such combination"),
    };
    Err(ModelError::NotOffered { provider: provider.to_string(), precision: precision.to_string(), reason })
}

/// The session options that make it run on `device` by `provider` in `precision`.
pub(crate) fn execution_provider(
    device: &DeviceKind,
    provider: Provider,
    precision: Precision,
) -> ExecutionProviderDispatch {
    let index = match device {
        DeviceKind::Cuda { index } => *index,
        DeviceKind::Cpu { .. } => 0,
    };
    match provider {
        Provider::Cpu => cpu::execution_provider(),
        Provider::OpenVino => openvino::execution_provider(device.threads(), precision),
        Provider::Cuda => cuda::execution_provider(index),
        Provider::TensorRt => tensorrt::execution_provider(index, precision),
    }
}

/// A provider's own library must lie beside ONNX Runtime's.
fn library_beside(runtime_folder: &Path, library: &str) -> Result<(), String> {
    if runtime_folder.join(library).exists() {
        Ok(())
    } else {
        Err(format!("{} has no {library}", runtime_folder.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_its_reason() {
        let empty = tempfile::tempdir().unwrap();
        let cpu = DeviceKind::Cpu { threads: 1 };
        let offers = offers(&cpu, empty.path());
        assert!(offers[0].offered && offers[0].provider == Provider::Cpu);
        assert!(!offers[1].offered);
        assert!(offers[1].reason.as_ref().unwrap().contains("libonnxruntime_providers_openvino.so"));

        let refused = require(&cpu, Provider::OpenVino, Precision::Fp32, empty.path()).unwrap_err();
        assert!(refused.to_string().contains("openvino fp32 is not offered"), "{refused}");
        let unknown = require(&cpu, Provider::Cuda, Precision::Fp32, empty.path()).unwrap_err();
        assert!(unknown.to_string().contains("no such combination"), "{unknown}");
    }

    #[test]
    fn device_kinds_keep_their_meaning_in_json() {
        let device = DeviceKind::Cpu { threads: 2 };
        let json = serde_json::to_string(&device).unwrap();
        assert_eq!(json, r#"{"kind":"cpu","threads":2}"#);
        assert_eq!(serde_json::from_str::<DeviceKind>(&json).unwrap(), device);
    }
}
