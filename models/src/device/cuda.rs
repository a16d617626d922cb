//! NVIDIA GPUs by the CUDA provider, in fp32.

use ort::ep::cuda::ConvAlgorithmSearch;
use ort::ep::{ArenaExtendStrategy, CUDA, ExecutionProviderDispatch};
use serde::Serialize;
use std::path::Path;

/// An NVIDIA GPU as the driver lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gpu {
    pub index: u32,
    pub name: String,
}

const DRIVER_LIST: &str = "/proc/driver/nvidia/gpus";

/// The machine's NVIDIA GPUs, in PCI order, which is the order of `CUDA_DEVICE_ORDER=PCI_BUS_ID`.
pub fn gpus() -> Vec<Gpu> {
    listed_in(Path::new(DRIVER_LIST))
}

fn listed_in(folder: &Path) -> Vec<Gpu> {
    let Ok(slots) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut slots: Vec<_> = slots.filter_map(|slot| Some(slot.ok()?.path())).collect();
    slots.sort();
    slots
        .iter()
        .zip(0..)
        .map(|(slot, index)| {
            let information = std::fs::read_to_string(slot.join("information")).unwrap_or_default();
            let model = information.lines().find_map(|line| line.strip_prefix("Model:"));
            let name = model.map_or("NVIDIA GPU", str::trim).to_owned();
            Gpu { index, name }
        })
        .collect()
}

/// The provider's library is there and the driver lists the GPU.
pub(super) fn present(runtime_folder: &Path, index: u32) -> Result<(), String> {
    super::library_beside(runtime_folder, "libonnxruntime_providers_cuda.so")?;
    gpu_listed(index)
}

pub(super) fn gpu_listed(index: u32) -> Result<(), String> {
    if gpus().iter().any(|gpu| gpu.index == index) {
        Ok(())
    } else {
        Err(format!("the NVIDIA driver lists no GPU {index} ({DRIVER_LIST})"))
    }
}

/// The convolution algorithm is the heuristic one, not the winner of a search at start, and TF32 is off: the same
/// bytes every time.
pub(super) fn execution_provider(index: u32) -> ExecutionProviderDispatch {
    CUDA::default()
        .with_device_id(index as i32)
        .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
        .with_conv_algorithm_search(ConvAlgorithmSearch::Heuristic)
        .with_tf32(false)
        .build()
        .error_on_failure()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_read_from_the_drivers_list() {
        let list = tempfile::tempdir().unwrap();
        for (slot, model) in [("0000:81:00.0", "Model: \t\t NVIDIA L4\nIRQ: 5\n"), ("0000:41:00.0", "")] {
            std::fs::create_dir(list.path().join(slot)).unwrap();
            std::fs::write(list.path().join(slot).join("information"), model).unwrap();
        }
        let names: Vec<_> = listed_in(list.path()).into_iter().map(|gpu| (gpu.index, gpu.name)).collect();
        assert_eq!(names, [(0, "NVIDIA GPU".to_owned()), (1, "NVIDIA L4".to_owned())]);
        assert!(listed_in(&list.path().join("absent")).is_empty());
    }
}
