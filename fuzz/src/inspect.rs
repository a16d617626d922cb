//! What a render process does with a file that was uploaded, under libFuzzer: header checks, probe, index, first frames, sound.
//!
//! `scripts/fuzz` builds and runs it. A panic, an input that takes longer than ten seconds and one that takes more memory
//! than `processes.memory_mb` are findings.
#![no_main]

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex};

use libfuzzer_sys::fuzz_target;
use rustix::fs::{MemfdFlags, memfd_create};

/// Sound that is decoded of each input: half a second at 48 kHz.
const SAMPLES: usize = 24_000;

/// The file under test, in memory: inputs follow each other too fast for a disk.
static FILE: LazyLock<Mutex<(File, PathBuf)>> = LazyLock::new(|| {
    let file = File::from(memfd_create("input", MemfdFlags::CLOEXEC).expect("the system has memory for a file"));
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Mutex::new((file, path))
});

fuzz_target!(|bytes: &[u8]| {
    let mut held = FILE.lock().expect("a panic ends the process");
    let (file, path) = &mut *held;
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(bytes)).expect("memory can be written");
    if media::probe(path).is_ok() {
        // An error is an answer.
        if let Ok(index) = media::build_index(path) {
            let _ = media::FrameIndex::from_bytes(&index.to_bytes());
            let _ = media::testing::read_sound(path, index.start(), SAMPLES);
        }
    }
});
