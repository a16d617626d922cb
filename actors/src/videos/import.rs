//! Imports a finished file as a video: probes it, decodes one frame, moves it into storage, then builds its frame index.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use entities::videos::{self, NewVideo, Processed, Video};
use entities::{TenantId, VideoId, stored};

use super::error::ImportError;
use crate::context::NodeContext;
use crate::failpoints::{self, Point};
use crate::removals::remove_video_files;
use crate::settings::tenant_limits;
use crate::sources::{StoredFacts, stored as facts_of};
use crate::storage;
use crate::threads::blocking;

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

/// Probes a file and makes it a video in state `processing`. [`index`] is to follow.
pub async fn import(context: &NodeContext, source: NewSource) -> Result<Video, ImportError> {
    let probe = context.processes.inspect(&source.path).await?;
    let limits = &context.live.borrow().live.limits.clone();
    let (width, height) = (probe.width, probe.height);
    let pixels = u64::from(width) * u64::from(height);
    if width.max(height) > limits.source_side || pixels > limits.source_pixels {
        let (side, pixels) = (limits.source_side, limits.source_pixels);
        return Err(ImportError::TooLarge { width, height, side, pixels });
    }
    // Its upload counts until it is a video and as many bytes after that, so nothing can take its room in between. It
    // may have none by now, when the limit was lowered.
    let own = tenant_limits::of(&context.db, limits, source.tenant).await?;
    stored::check(&context.db, source.tenant, own.storage_bytes).await??;
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
    let facts = serde_json::to_value(facts_of(&probe)).map_err(broken("describing the video"))?;
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
///
/// # Errors
/// See [`ImportError`]; the video stays in state `processing` then, also when `stop` was set in between.
pub async fn index(
    context: &NodeContext,
    video: Video,
    indexing: Indexing,
    stop: Arc<AtomicBool>,
) -> Result<Video, ImportError> {
    let path = context.storage.local_path(&video.storage_key);
    let around = match indexing {
        Indexing::Around { start, end } => Some((start, end)),
        Indexing::Later | Indexing::Now => None,
    };
    match context.processes.index(&path, around, &stop).await {
        Ok(index) => {
            let facts = video.facts.clone().unwrap_or_default();
            let known: StoredFacts = serde_json::from_value(facts).map_err(broken("reading what was probed"))?;
            let known = known.indexed(&index);
            let facts = serde_json::to_value(&known).map_err(broken("describing the video"))?;
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
        Err(error) => {
            // A fault of this machine and not of the file: the bytes stay, and the next start tries again.
            let Some((code, detail)) = error.refusal() else { return Err(error.into()) };
            fail(context, &video, code, &detail).await?;
        }
    }
    let row = videos::get(&context.db, video.tenant_id, video.id).await?;
    row.ok_or_else(|| ImportError::Broken { doing: "indexing", detail: "the video was deleted meanwhile".into() })
}

/// Makes a video in state `processing` failed, with its reason, and frees its file.
pub async fn fail(context: &NodeContext, video: &Video, code: &str, detail: &str) -> Result<(), ImportError> {
    let problem = serde_json::json!({
        "type": "about:blank", "title": "The video cannot be used", "status": 422, "code": code, "detail": detail,
    });
    // The row first: a file that a crash leaves to it is swept, a row without its file would wait for ever.
    if videos::set_failed(&context.db, video.tenant_id, video.id, problem).await? {
        remove_video_files(context, video.tenant_id, video.id).await;
    }
    Ok(())
}

fn broken<E: std::fmt::Display>(doing: &'static str) -> impl Fn(E) -> ImportError {
    move |error| ImportError::Broken { doing, detail: error.to_string() }
}
