//! What render processes are told of an export: its spec, its sources, and the room that its pictures need.

use std::sync::Arc;

use edits::ExportSpec;
use entities::TenantId;

use super::failure::ExportFailure;
use crate::context::NodeContext;
use crate::inference::profile::{DeviceClass, ExportProfile, ModelProfile};
use crate::processes::task::{Slots, SourceFile, Work};
use crate::render::{Prepared, Render, Source, Workload};
use crate::sources;

/// Opens the sources of a spec, each file once; and which of the files each source is.
pub async fn open_sources(
    context: &NodeContext,
    tenant: TenantId,
    spec: &ExportSpec,
) -> Result<(Vec<Source>, Vec<usize>), ExportFailure> {
    let (mut files, mut names, mut of) = (Vec::new(), Vec::new(), Vec::new());
    for from in spec.sources() {
        let from = from.ok_or_else(|| ExportFailure::other("it names no source"))?;
        let known = names.iter().position(|name| *name == from);
        if known.is_none() {
            files.push(sources::open(context, tenant, from).await?);
            names.push(from);
        }
        of.push(known.unwrap_or(files.len() - 1));
    }
    Ok((files, of))
}

/// Describes an export whose plan is `kind`, before it is prepared.
pub fn describe(
    context: &NodeContext,
    spec: &ExportSpec,
    profile: &ExportProfile,
    (files, of): (Vec<Source>, Vec<usize>),
    kind: &dyn Render,
) -> Result<Work, ExportFailure> {
    let scale = match &profile.upscale {
        Some(model) => scale(context, model)?,
        None => 1,
    };
    // As many as may be on their way, one that is being sent, and one whose answer is being taken.
    let count = if profile.uses_models() { context.window as u32 + 2 } else { 0 };
    Ok(Work {
        spec: serde_json::to_string(spec).map_err(ExportFailure::other)?,
        profile: serde_json::to_string(profile).map_err(ExportFailure::other)?,
        segment_seconds: context.settings.segments.seconds,
        files: files.iter().map(file).collect(),
        sources: of.into_iter().map(|number| number as u32).collect(),
        prepared: Prepared::default(),
        window: context.window as u32,
        slots: Slots { count, bytes: picture_bytes(&kind.workload(), scale, detected_pixels(kind)) },
    })
}

fn file(source: &Source) -> SourceFile {
    let facts = &source.facts;
    SourceFile {
        subject: source.subject,
        path: source.path.clone(),
        size: (facts.width, facts.height),
        rate: (facts.rate.num, facts.rate.den),
        has_audio: facts.has_audio,
        index: source.index.to_bytes(),
    }
}

/// By how much a model makes a picture larger.
fn scale(context: &NodeContext, model: &Arc<ModelProfile>) -> Result<u32, ExportFailure> {
    match (&context.models, model.class) {
        (_, DeviceClass::Sim) | (None, _) => Ok(1),
        (Some(store), _) => store.scale(&model.model).map_err(ExportFailure::other),
    }
}

fn detected_pixels(kind: &dyn Render) -> u64 {
    let any = entities::ExportId::from(uuid::Uuid::nil());
    kind.detected(any).map_or(0, |detected| u64::from(detected.width) * u64::from(detected.height))
}

/// Bytes of the largest picture that goes to the devices or comes back from them.
fn picture_bytes(work: &Workload, scale: u32, detected_pixels: u64) -> u64 {
    let upscaled = |((width, height), _): &((u32, u32), u64)| u64::from(*width) * u64::from(*height);
    let largest = work.upscales.iter().map(upscaled).max().unwrap_or(0) * u64::from(scale) * u64::from(scale);
    3 * largest.max(detected_pixels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_room_for_the_largest_picture() {
        let work = Workload { upscales: vec![((100, 50), 3), ((90, 60), 1)], ..Workload::default() };
        assert_eq!(picture_bytes(&work, 4, 1_000), 3 * 5_400 * 16);
        assert_eq!(picture_bytes(&work, 1, 10_000), 30_000, "frames are searched at the size of the output");
        assert_eq!(picture_bytes(&Workload::default(), 4, 0), 0);
    }
}
