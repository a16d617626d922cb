//! How much a process may use.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// Address space beside the memory that counts: stacks and arenas are reserved, not used.
const RESERVED_BYTES: u64 = 8 << 30;

/// Limits of one process. Beyond the first two an operation fails in the process; beyond the CPU time it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Private memory: heap, stacks and anonymous mappings.
    pub memory_bytes: u64,
    /// Of one file that it writes.
    pub file_bytes: u64,
    pub cpu_seconds: u64,
    pub open_files: u64,
}

impl Limits {
    /// None but those that its owner was started with.
    pub const NONE: Self =
        Self { memory_bytes: u64::MAX, file_bytes: u64::MAX, cpu_seconds: u64::MAX, open_files: u64::MAX };

    /// Applies them to the calling process, for good.
    pub(crate) fn apply(&self) -> io::Result<()> {
        let set = |resource, most: u64| -> io::Result<()> {
            // A lower limit that the owner was started with stays: only a privileged process may raise one.
            let most = getrlimit(resource).maximum.map_or(most, |inherited| most.min(inherited));
            Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
        };
        set(Resource::Data, self.memory_bytes)?;
        set(Resource::As, self.memory_bytes.saturating_add(RESERVED_BYTES))?;
        set(Resource::Fsize, self.file_bytes)?;
        set(Resource::Cpu, self.cpu_seconds)?;
        set(Resource::Nofile, self.open_files)?;
        // A dump would write the memory of a tenant's task into a file that belongs to no tenant.
        set(Resource::Core, 0)
    }
}
