//! Files that are made to hurt: their headers promise what their bytes cannot hold, or their content costs out of all
//! proportion. Each is small and made in-process, with the answer that it must get.

pub mod avi;
pub mod matroska;
pub mod mp4;
pub mod mpegts;

mod list;

pub use list::files;

/// A file, and what is to become of it.
pub struct HostileFile {
    /// Its name; the container follows from it.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    pub bytes: Vec<u8>,
    pub answer: Answer,
}

/// What a file must get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// A refusal with one of these codes.
    Refused(&'static [&'static str]),
    /// A refusal or an acceptance: what counts is time and memory.
    Either,
}
