//! What can go wrong with a model, and what to do then.

use std::path::{Path, PathBuf};

/// An error of this crate. Its text names the file or model concerned and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("reading the model manifest {}: {detail}", path.display())]
    Manifest { path: PathBuf, detail: String },

    #[error("no model manifest for `{}`: looked for manifest.toml in it and beside it, upwards from the working folder and from the executable; set `models.dir`", configured.display())]
    NotFound { configured: PathBuf },

    #[error("there is no model `{name}`; the manifest has {}", known.join(", "))]
    UnknownModel { name: String, known: Vec<String> },

    #[error("model `{model}` is of family {family} and cannot be used as {wanted}")]
    WrongKind { model: String, family: &'static str, wanted: &'static str },

    #[error("model file {} is missing: run `touchline models bake`", path.display())]
    Missing { path: PathBuf },

    #[error("model file {} is corrupt (SHA-256 {actual}, the manifest says {expected}): run `touchline models bake`", path.display())]
    Corrupt { path: PathBuf, expected: String, actual: String },

    #[error("reading the weights package {}: {detail}; run scripts/setup", path.display())]
    Package { path: PathBuf, detail: String },

    #[error("converting {what} to ONNX: {detail}")]
    Convert { what: String, detail: String },

    #[error("loading ONNX Runtime from {}: {detail}; run scripts/setup", path.display())]
    Runtime { path: PathBuf, detail: String },

    #[error("{provider} {precision} is not offered on this machine: {reason}")]
    NotOffered { provider: String, precision: String, reason: String },

    #[error("the numeric profile of model `{model}` does not fit here: {detail}")]
    ProfileMismatch { model: String, detail: String },

    #[error("{doing} with model `{model}`: {detail}")]
    Inference { doing: &'static str, model: String, detail: String },

    #[error("model `{model}` gave a wrong answer for its canary picture on {provider} {precision}: {detail}")]
    Canary { model: String, provider: String, precision: String, detail: String },

    #[error("{doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: std::io::Error },
}

impl ModelError {
    /// For `map_err`: an I/O error while `doing` something to `path`.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }

    pub(crate) fn convert(what: &str, detail: impl Into<String>) -> Self {
        Self::Convert { what: what.to_owned(), detail: detail.into() }
    }

    pub(crate) fn inference(doing: &'static str, model: &str, detail: impl ToString) -> Self {
        Self::Inference { doing, model: model.to_owned(), detail: detail.to_string() }
    }
}
