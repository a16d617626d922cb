//! Opens the sources that a request names: a tenant's ready video, or the result of its finished export.

use std::sync::Arc;

use edits::{FrameRate, SourceFacts, SourceRef};
use entities::exports::{self, ExportState};
use entities::videos::{self, Video, VideoState};
use entities::{ExportId, Subject, TenantId, VideoId};

use media::{FrameIndex, Probe};
use serde::{Deserialize, Serialize};

use crate::context::NodeContext;
use crate::processes::error::ProcessError;
use crate::render::Source;

/// Why there is no such source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The request names nothing that can be used: a code, and a detail for the caller.
    #[error("{1}")]
    Unusable(&'static str, String),
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// What is stored of the source cannot be read.
    #[error("reading the stored index of the video: {0}")]
    Stored(String),
    #[error(transparent)]
    Database(#[from] entities::Error),
}

/// What is stored of a source beside its frame index.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredFacts {
    pub width: u32,
    pub height: u32,
    rate: FrameRate,
    has_audio: bool,
    probe: serde_json::Value,
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
    let (facts, index) = facts_of(&video, &index)?;
    Ok(Source { subject: Subject::Video(id), path: context.storage.local_path(&video.storage_key), index, facts })
}

/// A result is small and Touchline's own: its index is built when it is needed instead of being kept.
async fn open_export(context: &NodeContext, tenant: TenantId, id: ExportId) -> Result<Source, SourceError> {
    let export = exports::get(&context.db, tenant, id).await?.ok_or_else(|| unknown("export", id))?;
    if !export.kind.0.media_type().starts_with("video/") {
        let detail = format!("export {id} is a {}: it has no pictures", export.kind);
        return Err(SourceError::Unusable("no_video", detail));
    }
    let Some(key) = export.result_key.filter(|_| export.state == ExportState::Complete) else {
        let detail = format!("export {id} is {}: only complete exports can be drawn on", export.state);
        return Err(SourceError::Unusable("not_ready", detail));
    };
    let path = context.storage.local_path(&key);
    let (probe, index) =
        (context.processes.inspect(&path).await?, context.processes.index(&path, None, &Arc::default()).await?);
    let facts = media::facts(&probe, &index);
    Ok(Source { subject: Subject::Export(id), path, index: Arc::new(index), facts })
}

pub(crate) fn stored(probe: &Probe) -> StoredFacts {
    StoredFacts {
        width: probe.width,
        height: probe.height,
        rate: probe.rate,
        has_audio: probe.audio.is_some(),
        probe: serde_json::to_value(probe).unwrap_or_default(),
    }
}

impl StoredFacts {
    /// With what only reading the whole file shows.
    pub fn indexed(mut self, index: &FrameIndex) -> Self {
        self.has_audio |= index.has_late_sound();
        self
    }
}

/// What specs are checked against, from a ready video's row and its stored frame index.
fn facts_of(video: &Video, index: &[u8]) -> Result<(SourceFacts, Arc<FrameIndex>), SourceError> {
    let facts: StoredFacts = serde_json::from_value(video.facts.clone().unwrap_or_default())
        .map_err(|error| SourceError::Stored(error.to_string()))?;
    let index = FrameIndex::from_bytes(index).map_err(|error| SourceError::Stored(error.to_string()))?;
    let index = Arc::new(index);
    let StoredFacts { width, height, rate, has_audio, .. } = facts;
    Ok((SourceFacts { width, height, rate, has_audio, frames: Arc::clone(&index.times) }, index))
}
