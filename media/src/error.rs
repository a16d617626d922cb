//! What can go wrong between a file and its pixels.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

/// A code of [`CODES`].
pub type Code = &'static str;

/// The codes of refusals.
const CODES: [&str; 9] = [
    "empty_file",
    "no_video_stream",
    "not_a_video",
    "not_an_image",
    "too_large",
    "undecodable",
    "unreadable",
    "unsupported",
    "unsupported_codec",
];

/// An error of this crate. `Refused`: the input is at fault; the rest is ours or the machine's. It can cross from
/// one process to another.
#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
pub enum MediaError {
    /// The input is not something that can be worked on; `code` is stable and machine readable.
    #[error("{detail}")]
    Refused {
        #[serde(deserialize_with = "code")]
        code: Code,
        detail: String,
    },
    /// Reading or writing a file failed.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        doing: Cow<'static, str>,
        path: PathBuf,
        #[serde(with = "io_error")]
        source: io::Error,
    },
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

    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing: doing.into(), path: path.to_owned(), source }
    }

    pub(crate) fn codec(doing: impl Into<String>, detail: impl ToString) -> Self {
        Self::Codec { doing: doing.into(), detail: detail.to_string() }
    }
}

/// The result of everything in this crate.
pub type Result<T, E = MediaError> = std::result::Result<T, E>;

/// A code that another process sent. It becomes a label of counters, so no other text may pass for one.
fn code<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    let sent = Cow::<str>::deserialize(from)?;
    Ok(CODES.into_iter().find(|code| *code == sent).unwrap_or("unreadable"))
}

/// An error of the system as its number, so that its kind arrives as well; another one as its text. For
/// `#[serde(with = ...)]`.
pub mod io_error {
    use std::io;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(error: &io::Error, to: S) -> Result<S::Ok, S::Error> {
        match error.raw_os_error() {
            Some(number) => Ok::<i32, String>(number),
            None => Err(error.to_string()),
        }
        .serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<io::Error, D::Error> {
        let known = Result::<i32, String>::deserialize(from)?;
        Ok(known.map_or_else(io::Error::other, io::Error::from_raw_os_error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_crosses_as_it_is() {
        let crossed = |error: &MediaError| -> MediaError {
            serde_json::from_str(&serde_json::to_string(error).unwrap()).unwrap()
        };
        let full = MediaError::io("writing", Path::new("a.mp4"), io::Error::from_raw_os_error(28));
        let arrived = crossed(&full);
        assert_eq!(arrived.to_string(), full.to_string());
        assert!(matches!(arrived, MediaError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull));
        for code in CODES {
            assert!(
                matches!(crossed(&MediaError::refused(code, "")), MediaError::Refused { code: c, .. } if c == code)
            );
        }
        let made_up: MediaError = serde_json::from_str(r#"{"Refused": {"code": "mine", "detail": ""}}"#).unwrap();
        assert!(matches!(made_up, MediaError::Refused { code: "unreadable", .. }));
    }
}
