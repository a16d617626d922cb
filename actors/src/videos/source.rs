//! Finding the pictures a request takes: a tenant's ready video, or the result of its finished export.

use std::sync::Arc;

use edits::SourceRef;
use entities::exports::{self, ExportKind, ExportState};
use entities::videos::{self, VideoState};
use entities::{ExportId, Subject, TenantId, VideoId};

use crate::node::NodeContext;
use crate::render::Source;
use crate::videos::import::{self, ImportError};

/// Why there is no such source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The request names nothing that can be used: a code, and what to tell.
    #[error("{1}")]
    Unusable(&'static str, String),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Database(#[from] entities::Error),
}

/// Opens what `source` names, if it is the tenant's and ready.
pub async fn open(context: &NodeContext, tenant: TenantId, source: SourceRef<'_>) -> Result<Source, SourceError> {
    match source {
        SourceRef::Video(id) => match id.parse() {
            Ok(id) => open_video(context, tenant, id).await,
            Err(_) => Err(unknown("video", id)),
        },
        SourceRef::Export(id) => match id.parse() {
            Ok(id) => open_export(context, tenant, id).await,
            Err(_) => Err(unknown("export", id)),
        },
    }
}

fn unknown(noun: &str, id: impl std::fmt::Display) -> SourceError {
    let code = if noun == "video" { "unknown_video" } else { "unknown_export" };
    SourceError::Unusable(code, format!("there is no {noun} {id}"))
}

async fn open_video(context: &NodeContext, tenant: TenantId, id: VideoId) -> Result<Source, SourceError> {
    let video = videos::get(&context.db, tenant, id).await?.ok_or_else(|| unknown("video", id))?;
    if video.state != VideoState::Ready {
        let detail = format!("video {id} is not ready; its state says why");
        return Err(SourceError::Unusable("not_ready", detail));
    }
    let index = videos::frame_index(&context.db, tenant, id).await?.unwrap_or_default();
    let (facts, index) = import::facts_of(&video, &index)?;
    Ok(Source { subject: Subject::Video(id), path: context.storage.local_path(&video.storage_key), index, facts })
}

/// A result is small and Touchline's own: its index is built when it is needed instead of being kept.
async fn open_export(context: &NodeContext, tenant: TenantId, id: ExportId) -> Result<Source, SourceError> {
    let export = exports::get(&context.db, tenant, id).await?.ok_or_else(|| unknown("export", id))?;
    if export.kind == ExportKind::Detection {
        let detail = format!("export {id} is a detection: it has no pictures");
        return Err(SourceError::Unusable("no_video", detail));
    }
    let Some(key) = export.result_key.filter(|_| export.state == ExportState::Complete) else {
        let detail = format!("export {id} is {}: only complete exports can be drawn on", export.state);
        return Err(SourceError::Unusable("not_ready", detail));
    };
    let path = context.storage.local_path(&key);
    let file = path.clone();
    let read = import::blocking("reading an export", move || {
        let (probe, index) = (media::probe(&file)?, media::build_index(&file)?);
        Ok::<_, ImportError>((media::facts(&probe, &index), index))
    });
    let (facts, index) = read.await??;
    Ok(Source { subject: Subject::Export(id), path, index: Arc::new(index), facts })
}
