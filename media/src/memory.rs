//! Giving memory back.
#![expect(unsafe_code, reason = "the C library's allocator has no safe interface for this")]

use std::ffi::c_int;

unsafe extern "C" {
    /// glibc: returns free memory at the top and in the middle of every arena to the system (malloc_trim(3)).
    fn malloc_trim(pad: usize) -> c_int;
}

/// Returns what was freed to the system. The packet tables of a long file take tens of megabytes; glibc would keep them
/// for the thread that read them, which may never need them again, while the next thread takes as much for itself.
pub(crate) fn give_back() {
    // SAFETY: it takes locks of the allocator only, and may be called at any time.
    unsafe { malloc_trim(0) };
}
