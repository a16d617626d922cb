//! Why a job or its export failed: a code for programs and a reason for people.
//!
//! What an operator or user can put right has a code of its own, and a retry goes on from there: `disk_full`, `storage_lost` (the
//! folder of the media, or a file in it, is gone), `source_unreadable`, `device_failed`. Everything else is
//! `render_failed`.

use std::io;

use media::MediaError;

use super::error::JobError;
use crate::failpoints;
use crate::processes::error::ProcessError;
use crate::render::RenderError;
use crate::sources::SourceError;
use crate::storage::StorageError;

const UNEXPLAINED: &str = "render_failed";

/// See the [module](self).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportFailure {
    pub code: &'static str,
    pub detail: String,
}

impl ExportFailure {
    /// A failure that no user or operator can put right.
    pub fn other(detail: impl ToString) -> Self {
        Self { code: UNEXPLAINED, detail: detail.to_string() }
    }

    /// No room to write.
    pub fn full(detail: impl ToString) -> Self {
        Self { code: "disk_full", detail: format!("{}; make room, then retry", detail.to_string()) }
    }

    /// A stored file that must be there is not.
    pub fn lost(detail: impl ToString) -> Self {
        Self { code: "storage_lost", detail: detail.to_string() }
    }

    /// A source that cannot be read.
    pub fn source(detail: impl ToString) -> Self {
        Self { code: "source_unreadable", detail: detail.to_string() }
    }

    /// Whether nothing is known of what led to it.
    pub fn is_unexplained(&self) -> bool {
        self.code == UNEXPLAINED
    }

    /// The same, with what was being done in front.
    #[must_use]
    pub fn while_doing(self, doing: impl std::fmt::Display) -> Self {
        Self { detail: format!("{doing}: {}", self.detail), ..self }
    }
}

impl From<JobError> for ExportFailure {
    fn from(error: JobError) -> Self {
        let detail = error.to_string();
        match error {
            JobError::Storage(error) => error.into(),
            JobError::Database(error) => error.into(),
            JobError::Process(ProcessError::Render(RenderError::Device(_))) => Self { code: "device_failed", detail },
            error if io_of(&error).is_some_and(failpoints::is_full) => Self::full(detail),
            _ => Self::other(detail),
        }
    }
}

/// The error of the system that a job failed with, if it was one.
fn io_of(error: &JobError) -> Option<&io::Error> {
    match error {
        JobError::Io { source, .. }
        | JobError::Process(
            ProcessError::Media(MediaError::Io { source, .. })
            | ProcessError::Render(RenderError::Io { source, .. })
            | ProcessError::NotStarted { source, .. },
        ) => Some(source),
        _ => None,
    }
}

impl From<entities::Error> for ExportFailure {
    fn from(error: entities::Error) -> Self {
        if error.is_full() { Self::full(error) } else { Self::other(error) }
    }
}

impl From<StorageError> for ExportFailure {
    fn from(error: StorageError) -> Self {
        if failpoints::is_full(&error.source) { Self::full(error) } else { Self::lost(error) }
    }
}

impl From<SourceError> for ExportFailure {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Database(error) => error.into(),
            error => Self::source(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_known_wherever_it_shows() {
        let full = || io::Error::from_raw_os_error(28);
        let media = MediaError::Io { doing: "writing".into(), path: "segment.mp4".into(), source: full() };
        let storage = StorageError { doing: "storing", key: "k".into(), source: full() };
        let in_task = RenderError::Io { doing: "writing".into(), source: full() };
        for error in [
            JobError::Process(ProcessError::from(RenderError::Media(media))),
            JobError::Process(ProcessError::from(in_task)),
            JobError::Storage(storage),
            JobError::Io { doing: "beginning".into(), source: full() },
        ] {
            assert_eq!(ExportFailure::from(error).code, "disk_full");
        }
    }

    #[test]
    fn storage_that_fails_otherwise_is_lost() {
        let gone = StorageError { doing: "storing", key: "k".into(), source: io::ErrorKind::NotFound.into() };
        let failure = ExportFailure::from(gone).while_doing("publishing the result");
        assert_eq!(failure.code, "storage_lost");
        assert!(failure.detail.starts_with("publishing the result: storing k"), "{}", failure.detail);
    }
}
