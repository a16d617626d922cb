//! The models of a request: whether they are known, and the numeric profile in which they run.

use edits::{ExportSpec, FieldError, ModelNeeds, Quality};
use entities::TenantId;
use models::ModelKind;

use super::error::RequestError;
use crate::context::NodeContext;
use crate::inference::profile::{DeviceClass, ExportProfile};
use crate::settings::default_models::{self, AUTO};

/// A model that the deployment does not have is the client's mistake.
pub(super) fn check(context: &NodeContext, spec: &ExportSpec, errors: &mut Vec<FieldError>) {
    let (Some(model), Some(store)) = (spec.models().upscaler.filter(|model| *model != AUTO), &context.models) else {
        return;
    };
    if let Err(detail) = default_models::check(store, model, ModelKind::Upscaler) {
        errors.push(FieldError::new(ModelNeeds::UPSCALER_POINTER, "unknown_model", detail));
    }
}

/// Fixes everything that could change a byte of the output.
pub(super) async fn fix_profile(
    context: &NodeContext,
    tenant: TenantId,
    spec: &ExportSpec,
) -> Result<ExportProfile, RequestError> {
    let live = context.live.borrow().live.clone();
    let defaults = default_models::of(&context.db, &live, tenant).await?;
    let needs = spec.models();
    let quality = needs.quality.map_or(Quality::Best, |asked| resolve_quality(asked, context.profiles.class()));
    let named = needs.upscaler.map(|model| Some(model.to_owned()).filter(|model| model != AUTO));
    let upscaler = named.map(|named| named.unwrap_or(defaults.upscale));
    let detector = needs.detector.then_some(defaults.detect);
    let of = async |model: Option<String>| match model {
        Some(model) => context.profiles.of(&model).await.map(Some),
        None => Ok(None),
    };
    let (upscale, detect) = (of(upscaler).await?, of(detector).await?);
    Ok(ExportProfile { upscale, detect, quality, libraries: media::library_versions() })
}

/// `auto` is `best` where a GPU serves, else `balanced`.
fn resolve_quality(asked: Quality, class: DeviceClass) -> Quality {
    match (asked, class) {
        (Quality::Auto, DeviceClass::Cuda) => Quality::Best,
        (Quality::Auto, _) => Quality::Balanced,
        (named, _) => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_best_on_a_gpu_only() {
        assert_eq!(resolve_quality(Quality::Auto, DeviceClass::Cuda), Quality::Best);
        assert_eq!(resolve_quality(Quality::Auto, DeviceClass::Cpu), Quality::Balanced);
        assert_eq!(resolve_quality(Quality::Auto, DeviceClass::Sim), Quality::Balanced);
        assert_eq!(resolve_quality(Quality::Draft, DeviceClass::Cuda), Quality::Draft);
    }
}
