//! Model names in requests and settings: whether a name is a model of the wanted kind, and what `auto` stands for.

use config::Live;
use entities::{Database, TenantId, tenants};
use models::{ModelKind, ModelStore};

/// The model name that stands for a default.
pub const AUTO: &str = "auto";

/// Whether `name` is a model of this kind.
///
/// # Errors
/// A detail for the caller, with the names of the models of that kind.
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

/// What `auto` stands for.
pub struct DefaultModels {
    pub upscale: String,
    pub detect: String,
}

/// The models a tenant gets when it names none: its own defaults, else the deployment's.
pub async fn of(db: &Database, live: &Live, tenant: TenantId) -> Result<DefaultModels, entities::Error> {
    let own = tenants::get(db, tenant).await?;
    let (upscale, detect) = own.map_or((None, None), |tenant| (tenant.upscale_model, tenant.detect_model));
    Ok(DefaultModels {
        upscale: upscale.unwrap_or_else(|| live.upscale.model.clone()),
        detect: detect.unwrap_or_else(|| live.detect.model.clone()),
    })
}
