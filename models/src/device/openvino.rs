//! Intel's OpenVINO on the processor: often faster convolutions, and bfloat16 where the processor has it.

use crate::Precision;
use ort::ep::{ArbitrarilyConfigurableExecutionProvider, ExecutionProviderDispatch, OpenVINO};
use std::path::Path;

pub(super) fn present(runtime_folder: &Path) -> Result<(), String> {
    super::library_beside(runtime_folder, "libonnxruntime_providers_openvino.so")?;
    super::library_beside(runtime_folder, "libopenvino_intel_cpu_plugin.so")
}

/// Options by OpenVINO's own property names; one stream, so that a run uses just its threads.
pub(super) fn execution_provider(threads: usize, precision: Precision) -> ExecutionProviderDispatch {
    let hint = match precision {
        Precision::Bf16 => "bf16",
        Precision::Fp32 | Precision::Fp16 => "f32",
    };
    let properties = format!(
        r#"{{"CPU":{{"INFERENCE_PRECISION_HINT":"{hint}","INFERENCE_NUM_THREADS":"{threads}","NUM_STREAMS":"1"}}}}"#
    );
    OpenVINO::default()
        .with_device_type("CPU")
        .with_arbitrary_config("load_config", properties)
        .build()
        .error_on_failure()
}
