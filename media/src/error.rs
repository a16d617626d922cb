//! What can go wrong between a file and its pixels.

use std::path::{Path, PathBuf};

/// An error of this room. `Refused` is the caller's input at fault, the rest is ours or the machine's.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The input is not something that can be worked on; `code` is stable and machine readable.
    #[error("{detail}")]
    Refused { code: &'static str, detail: String },
    /// Reading or writing a file failed.
    #[error("{doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: std::io::Error },
    /// libav refused something that should have worked.
    #[error("{doing}: {detail}")]
    Codec { doing: String, detail: String },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl MediaError {
    pub(crate) fn refused(code: &'static str, detail: impl Into<String>) -> Self {
        Self::Refused { code, detail: detail.into() }
    }

    pub(crate) fn io(doing: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    pub(crate) fn codec(doing: impl Into<String>, detail: impl ToString) -> Self {
        Self::Codec { doing: doing.into(), detail: detail.to_string() }
    }
}

/// The result of everything in this room.
pub type Result<T, E = MediaError> = std::result::Result<T, E>;
