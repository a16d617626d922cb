//! Taking a finished file in as a video: probed, one frame decoded, moved into storage, then indexed.

use std::path::PathBuf;
use std::sync::Arc;

use edits::{FrameRate, SourceFacts};
use entities::videos::{self, NewVideo, Processed, Video};
use entities::{TenantId, VideoId};
use media::{FrameIndex, MediaError, Probe};
use serde::{Deserialize, Serialize};

use crate::failpoints::{self, Point};
use crate::node::NodeContext;
use crate::storage::{self, StorageError};

/// A finished file that is to become a video.
#[derive(Debug, Clone)]
pub struct NewSource {
    pub tenant: TenantId,
    pub id: VideoId,
    pub name: String,
    pub path: PathBuf,
    /// True: the file stays where it is and is only linked. False: it is moved into storage.
    pub link: bool,
}

/// Why a file was not taken in. Nothing of it is left, but a linked file stays where it is.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It is no video Touchline can use.
    #[error(transparent)]
    Refused(#[from] MediaError),
    /// It is larger than the tenant may bring.
    #[error("the picture is {width}x{height}; at most {side} pixels a side and {pixels} in all are allowed")]
    TooLarge { width: u32, height: u32, side: u32, pixels: u64 },
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Database(#[from] entities::Error),
    #[error("{doing}: {source}")]
    Io { doing: &'static str, source: std::io::Error },
    #[error("{doing}: {detail}")]
    Broken { doing: &'static str, detail: String },
}

/// What is stored of a source beside its frame index.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct StoredFacts {
    width: u32,
    height: u32,
    rate: FrameRate,
    has_audio: bool,
    probe: serde_json::Value,
}

/// Probes a file and makes it a video in state `processing`. [`index`] is to follow.
pub async fn import(context: &NodeContext, source: NewSource) -> Result<Video, ImportError> {
    let path = source.path.clone();
    let probe = blocking("probing", move || media::probe(&path)).await??;
    let limits = &context.live.borrow().live.limits.clone();
    let (width, height) = (probe.width, probe.height);
    let pixels = u64::from(width) * u64::from(height);
    if width.max(height) > limits.source_side || pixels > limits.source_pixels {
        let (side, pixels) = (limits.source_side, limits.source_pixels);
        return Err(ImportError::TooLarge { width, height, side, pixels });
    }
    let key = storage::video_key(source.tenant, source.id);
    let (path, kept) = (source.path.clone(), key.clone());
    let (store, link) = (Arc::clone(&context.storage), source.link);
    let bytes = blocking("storing", move || -> Result<u64, ImportError> {
        let size = std::fs::metadata(&path);
        let bytes = size.map_err(|source| ImportError::Io { doing: "reading the size of the file", source })?.len();
        if link {
            store.link_file(&kept, &path)?
        } else {
            store.put_file(&kept, &path)?
        }
        Ok(bytes)
    })
    .await??;
    failpoints::at(Point::VideoStored).map_err(|source| ImportError::Io { doing: "storing the video", source })?;
    let facts = serde_json::to_value(stored(&probe)).map_err(broken("describing the video"))?;
    let row = NewVideo {
        id: source.id,
        tenant_id: source.tenant,
        name: source.name,
        bytes: bytes as i64,
        storage_key: key,
        facts: Some(facts),
    };
    let video = videos::insert(&context.db, row).await?;
    failpoints::passed(Point::VideoCommitted);
    Ok(video)
}

/// How much of a video is indexed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Indexing {
    /// All of it, after the import was answered.
    Later,
    /// All of it, before the import is answered.
    Now,
    /// Only what lies between these seconds, before the import is answered: for a render that needs no more.
    Around { start: f64, end: f64 },
}

/// Builds the frame index of a video in state `processing` and makes it `ready`, or `failed` with a problem. Returns
/// the row as it is then.
pub async fn index(context: &NodeContext, video: Video, indexing: Indexing) -> Result<Video, ImportError> {
    let path = context.storage.local_path(&video.storage_key);
    let build = move || match indexing {
        Indexing::Around { start, end } => media::build_index_around(&path, start, end),
        Indexing::Later | Indexing::Now => media::build_index(&path),
    };
    match blocking("indexing", build).await? {
        Ok(index) => {
            let facts = video.facts.clone().unwrap_or_default();
            let known: StoredFacts =
                serde_json::from_value(facts.clone()).map_err(broken("reading what was probed"))?;
            let found = Processed {
                facts,
                width: known.width as i32,
                height: known.height as i32,
                duration: edits::rational::to_f64(index.times.duration()),
                frame_index: index.to_bytes(),
            };
            failpoints::passed(Point::VideoIndexed);
            videos::set_ready(&context.db, video.tenant_id, video.id, found).await?;
            failpoints::passed(Point::VideoReady);
        }
        // A fault of this machine and not of the file: the bytes stay, and the next start tries again.
        Err(error @ (MediaError::Io { .. } | MediaError::Cancelled)) => return Err(error.into()),
        Err(error) => {
            let (code, detail) = match &error {
                MediaError::Refused { code, detail } => (*code, detail.clone()),
                other => ("unreadable", other.to_string()),
            };
            let problem = serde_json::json!({
                "type": "about:blank", "title": "The video cannot be used", "status": 422, "code": code, "detail": detail,
            });
            // The row first: a file that a crash leaves to it is swept, a row without its file would wait for ever.
            videos::set_failed(&context.db, video.tenant_id, video.id, problem).await?;
            let (store, prefix) = (Arc::clone(&context.storage), storage::video_prefix(video.tenant_id, video.id));
            blocking("freeing the file", move || store.delete_prefix(&prefix)).await??;
        }
    }
    let row = videos::get(&context.db, video.tenant_id, video.id).await?;
    row.ok_or_else(|| ImportError::Broken { doing: "indexing", detail: "the video was deleted meanwhile".into() })
}

fn stored(probe: &Probe) -> StoredFacts {
    StoredFacts {
        width: probe.width,
        height: probe.height,
        rate: probe.rate,
        has_audio: probe.audio.is_some(),
        probe: serde_json::to_value(probe).unwrap_or_default(),
    }
}

/// What specs are checked against, from a ready video's row and its stored frame index.
pub fn facts_of(video: &Video, index: &[u8]) -> Result<(SourceFacts, Arc<FrameIndex>), ImportError> {
    let doing = "reading the stored index of the video";
    let facts: StoredFacts = serde_json::from_value(video.facts.clone().unwrap_or_default()).map_err(broken(doing))?;
    let index = Arc::new(FrameIndex::from_bytes(index).map_err(broken(doing))?);
    let StoredFacts { width, height, rate, has_audio, .. } = facts;
    Ok((SourceFacts { width, height, rate, has_audio, frames: Arc::clone(&index.times) }, index))
}

fn broken<E: std::fmt::Display>(doing: &'static str) -> impl Fn(E) -> ImportError {
    move |error| ImportError::Broken { doing, detail: error.to_string() }
}

/// Runs blocking work off the arbiter.
pub async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ImportError> {
    tokio::task::spawn_blocking(work).await.map_err(broken(doing))
}
