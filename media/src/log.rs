//! libav's own messages, sent to `tracing` (target `libav`) so that standard error stays clean, and counted.
//!
//! Most decoders and demuxers conceal or step over damage and report it nowhere but in their messages.
#![expect(unsafe_code, reason = "the log callback is a C function pointer")]

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Once;

use ffmpeg_next::ffi;

/// Prepares libav once for the process. Every entry point of this crate calls it; calling it again is free.
pub fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(error) = ffmpeg_next::init() {
            tracing::error!("libav did not start: {error}");
        }
        // SAFETY: the callback is valid for the life of the process and may be called from any thread.
        unsafe {
            ffi::av_log_set_level(ffi::AV_LOG_WARNING);
            ffi::av_log_set_callback(Some(forward));
        }
    });
}

/// The parts of libav whose error messages are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Complainer {
    Demuxer,
    Decoder,
}

thread_local! {
    /// Error messages of demuxers and of decoders on this thread.
    static COMPLAINTS: [Cell<u64>; 2] = const { [const { Cell::new(0) }; 2] };
}

/// Error messages that libav has written on this thread so far. Work that it does on threads of its own is not seen.
pub(crate) fn complaints(from: Complainer) -> u64 {
    COMPLAINTS.with(|counts| counts[from as usize].get())
}

fn count(source: *mut c_void) {
    if source.is_null() {
        return;
    }
    // SAFETY: libav passes an object that begins with a pointer to its class, which outlives it.
    let class = unsafe { *source.cast::<*const ffi::AVClass>() };
    if class.is_null() {
        return;
    }
    // SAFETY: as above; a class with a function for its category has one for this object.
    let category = unsafe { (*class).get_category.map_or((*class).category, |category| category(source)) };
    let from = match category {
        ffi::AVClassCategory::AV_CLASS_CATEGORY_DEMUXER => Complainer::Demuxer,
        ffi::AVClassCategory::AV_CLASS_CATEGORY_DECODER => Complainer::Decoder,
        _ => return,
    };
    COMPLAINTS.with(|counts| counts[from as usize].set(counts[from as usize].get() + 1));
}

/// Formats one message and hands it to `tracing`. What libav calls an error is a fact about an input, so nothing is
/// louder than `debug`; errors that matter are returned.
unsafe extern "C" fn forward(
    source: *mut c_void,
    level: c_int,
    format: *const c_char,
    arguments: *mut ffi::__va_list_tag,
) {
    if level <= ffi::AV_LOG_ERROR {
        count(source);
    }
    if level > ffi::AV_LOG_WARNING || !tracing::enabled!(target: "libav", tracing::Level::DEBUG) {
        return;
    }
    let mut line = [0 as c_char; 1024];
    let mut prefix: c_int = 1;
    // SAFETY: libav passes a format and its arguments; the line is cut at the buffer's size and NUL-terminated.
    let text = unsafe {
        ffi::av_log_format_line2(source, level, format, arguments, line.as_mut_ptr(), line.len() as c_int, &mut prefix);
        CStr::from_ptr(line.as_ptr())
    };
    tracing::debug!(target: "libav", "{}", text.to_string_lossy().trim_end());
}
