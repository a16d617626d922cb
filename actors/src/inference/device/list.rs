//! Which devices `auto` stands for on this machine.

use config::DeviceName;

/// Memory a CPU share may need with its models and a picture on its way (bytes).
const SHARE_MEMORY: u64 = 1_500_000_000;

/// Every GPU, or, without one, a CPU share for each `cpu_threads` cores as memory allows.
pub fn auto(cpu_threads: usize) -> Vec<DeviceName> {
    let gpus = gpus();
    if gpus > 0 {
        return (0..gpus).map(DeviceName::Cuda).collect();
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let by_memory = available_memory().map_or(usize::MAX, |bytes| (bytes / SHARE_MEMORY) as usize);
    let shares = (cores / cpu_threads.max(1)).min(by_memory).max(1) as u32;
    (0..shares).map(DeviceName::Cpu).collect()
}

/// GPUs the NVIDIA driver shows.
fn gpus() -> u32 {
    std::fs::read_dir("/proc/driver/nvidia/gpus").map_or(0, |entries| entries.count() as u32)
}

/// Memory that can be had without swapping, in bytes.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_always_finds_a_device() {
        assert!(!auto(1).is_empty());
        assert!(!auto(10_000).is_empty());
    }
}
