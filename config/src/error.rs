//! What can be wrong with settings.

use std::path::PathBuf;

/// Why settings could not be loaded. Every message names the key and the layer it came from.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file given by the user cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("the configuration file {} is not valid TOML: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
    /// An unknown key.
    #[error("unknown key `{key}` in {layer}; the keys are listed in config/default.toml")]
    UnknownKey {
        /// The key with its section, such as `limits.uploads`.
        key: String,
        /// `the configuration file …` or `the environment variable …`.
        layer: String,
    },
    /// A known key with a value of the wrong type.
    #[error("{layer}: {message}")]
    Type {
        /// The layer that brought the value.
        layer: String,
        /// Which key, what was expected, what was found.
        message: String,
    },
    /// Well-formed values that make no sense, all of them.
    #[error("invalid settings: {}", join(.0))]
    Invalid(Vec<Invalid>),
}

/// One value that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// JSON pointer of the key, such as `/limits/upload_bytes`.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Invalid {
    pub(crate) fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

fn join(all: &[Invalid]) -> String {
    let one = |i: &Invalid| format!("{}: {}", i.pointer.trim_start_matches('/').replace('/', "."), i.message);
    all.iter().map(one).collect::<Vec<_>>().join("; ")
}
