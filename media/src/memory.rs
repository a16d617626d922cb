//! Giving memory back.
#![expect(unsafe_code, reason = "the C library's allocator has no safe interface for this")]

use std::ffi::c_int;

unsafe extern "C" {
    /// glibc: returns free memory at the top and in the middle of every arena to the system (malloc_trim(3)).
    fn malloc_trim(pad: usize) -> c_int;
    /// glibc: sets a parameter of the allocator for the whole process (mallopt(3)); 0 is an error.
    fn mallopt(parameter: c_int, value: c_int) -> c_int;
}

/// `M_MMAP_THRESHOLD` of glibc's malloc.h.
const MMAP_THRESHOLD: c_int = -3;
/// Where that threshold begins, in bytes, until glibc raises it.
const LARGE: c_int = 128 << 10;

/// Returns what was freed to the system. The packet tables of a long file take tens of megabytes; glibc would keep them
/// for the thread that read them, which may never need them again, while the next thread takes as much for itself.
pub(crate) fn return_to_system() {
    // SAFETY: it takes locks of the allocator only, and may be called at any time.
    unsafe { malloc_trim(0) };
}

/// From now on every large block is a mapping of its own, which grows without being copied and goes when it is freed.
/// glibc would raise its threshold with the first large block that is freed, and the packet tables of a long file,
/// which grow as they are read, would be copied about on its heap: 20 of 107 MB for two hours of 720p.
///
/// For a process that only copies: pictures are faster to have from the heap.
pub fn map_large_blocks() {
    // SAFETY: it sets a number in the allocator, and may be called at any time; refused, it changes nothing.
    unsafe { mallopt(MMAP_THRESHOLD, LARGE) };
}
