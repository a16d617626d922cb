//! Why a job or its export failed: a code for programs and a reason for people.
//!
//! What an operator or user can put right has a code of its own, and a retry goes on from there: `disk_full`, `storage_lost` (the
//! folder of the media, or a file in it, is gone), `source_unreadable`, `device_failed`. Everything else is
//! `render_failed`.

use media::MediaError;

use crate::failpoints;
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

impl From<RenderError> for ExportFailure {
    fn from(error: RenderError) -> Self {
        let detail = error.to_string();
        match error {
            RenderError::Storage(error) => error.into(),
            RenderError::Database(error) => error.into(),
            RenderError::Media(MediaError::Io { source, .. }) | RenderError::Io { source, .. }
                if failpoints::is_full(&source) =>
            {
                Self::full(detail)
            }
            RenderError::Device(_) => Self { code: "device_failed", detail },
            _ => Self::other(detail),
        }
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
    use std::io;

    use super::*;

    #[test]
    fn a_full_disk_is_known_wherever_it_shows() {
        let full = || io::Error::from_raw_os_error(28);
        let media = MediaError::Io { doing: "writing", path: "segment.mp4".into(), source: full() };
        let storage = StorageError { doing: "storing", key: "k".into(), source: full() };
        for error in [
            RenderError::Media(media),
            RenderError::Storage(storage),
            RenderError::Io { doing: "writing".into(), source: full() },
        ] {
            assert_eq!(ExportFailure::from(error).code, "disk_full");
        }
    }

    #[test]
    fn storage_that_fails_otherwise_is_lost() {
        let gone = StorageError { doing: "storing", key: "k".into(), source: io::ErrorKind::NotFound.into() };
        let trouble = ExportFailure::from(gone).while_doing("publishing the result");
        assert_eq!(trouble.code, "storage_lost");
        assert!(trouble.detail.starts_with("publishing the result: storing k"), "{}", trouble.detail);
    }
}
