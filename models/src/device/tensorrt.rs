//! NVIDIA GPUs by TensorRT, in fp16.

use crate::Precision;
use ort::ep::{ExecutionProviderDispatch, TensorRT};
use std::path::Path;

pub(super) fn present(runtime_folder: &Path, index: u32) -> Result<(), String> {
    super::library_beside(runtime_folder, "libonnxruntime_providers_tensorrt.so")?;
    super::cuda::gpu_listed(index)
}

pub(super) fn execution_provider(index: u32, precision: Precision) -> ExecutionProviderDispatch {
    TensorRT::default().with_device_id(index as i32).with_fp16(precision == Precision::Fp16).build().error_on_failure()
}
