//! Where the sound of a reel comes from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use edits::Rat;

use crate::index::FrameIndex;
use crate::joins::Joins;

/// Where a source's sound is, and when its pictures start.
#[derive(Debug, Clone)]
pub struct AudioSource {
    /// The file; `None` for a source without sound.
    pub(super) path: Option<PathBuf>,
    /// Seconds on the file's own clock at which its first frame is displayed ([`crate::FrameIndex::start`]): time 0 of
    /// every edit.
    pub(super) start: Rat,
    pub(super) joins: Option<Arc<Joins>>,
    /// Stream of the sound, where only the index knows it.
    pub(super) late: Option<usize>,
}

impl AudioSource {
    /// The sound that belongs to a video.
    pub fn of(path: &Path, index: &FrameIndex) -> Self {
        Self { path: Some(path.to_owned()), start: index.start(), joins: index.joins.clone(), late: index.late_sound }
    }

    /// The sound of a file without pictures.
    pub fn alone(path: &Path) -> Self {
        Self { path: Some(path.to_owned()), ..Self::silent() }
    }

    /// No sound.
    pub fn silent() -> Self {
        Self { path: None, start: Rat::from(0), joins: None, late: None }
    }
}
