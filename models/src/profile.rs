//! The numeric profile: everything on the model's side that could change a byte of a result.

use serde::{Deserialize, Serialize};
use std::fmt;

/// An ONNX Runtime execution provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// ONNX Runtime's own kernels.
    Cpu,
    /// Intel's, on the processor.
    OpenVino,
    Cuda,
    TensorRt,
}

/// The arithmetic of the convolutions. Inputs, outputs and weights at rest are fp32 always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    Fp32,
    Bf16,
    Fp16,
}

/// What a result depends on besides the picture. Chosen by [`crate::choose_profile`], stored with an export when it is
/// accepted; within one profile results are the same, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NumericProfile {
    pub model: String,
    pub model_sha256: String,
    pub provider: Provider,
    pub precision: Precision,
    /// Threads of one session; 0 on a GPU.
    pub threads: usize,
    /// Pictures in one run; a shorter last batch is padded to it.
    pub batch: usize,
    pub runtime_version: String,
    /// Model of the processor or GPU, with the instruction sets that pick kernels.
    pub device: String,
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::OpenVino => "openvino",
            Self::Cuda => "cuda",
            Self::TensorRt => "tensorrt",
        })
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
            Self::Fp16 => "fp16",
        })
    }
}
