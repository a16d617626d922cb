//! Models that people name: whether there is such a one, and whether it does what is wanted.

use models::{ModelKind, ModelStore};

/// The model name that stands for a default.
pub const AUTO: &str = "auto";

/// Whether `name` is a model of this kind.
///
/// # Errors
/// What to tell who named it, with the names that would do.
pub fn check(store: &ModelStore, name: &str, kind: ModelKind) -> Result<(), String> {
    if store.kind(name).ok() == Some(kind) {
        return Ok(());
    }
    let noun = match kind {
        ModelKind::Upscaler => "upscaler",
        ModelKind::Detector => "detector",
    };
    let known: Vec<_> = store.names().into_iter().filter(|name| store.kind(name).ok() == Some(kind)).collect();
    Err(format!("there is no {noun} \"{name}\" here; known models: {}", known.join(", ")))
}
