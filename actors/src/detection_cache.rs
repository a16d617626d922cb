//! The actor that answers readers of detections: from memory, else from the database. It never starts inference.
//!
//! What it hands out are bytes that are ready to send, with their entity tag. Memory is bounded by weight; a commit
//! of new detections invalidates what is held of their subject.

use std::sync::Arc;

use actix::{Actor, ActorFutureExt, Context, Handler, Message, ResponseActFuture, WrapFuture};
use bytes::Bytes;
use edits::{DetectedBox, FrameDetections};
use entities::{Database, Subject, TenantId, detections, exports, videos};
use moka::sync::Cache;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::segment_job::hex;

/// Bytes of ready answers held in memory.
const HELD_BYTES: u64 = 64 << 20;

/// A ready answer.
#[derive(Debug)]
pub struct CachedDetections {
    /// Strong entity tag, quoted, over the body: the filters are part of it.
    pub etag: String,
    /// The JSON document.
    pub body: Bytes,
}

/// What a reader asks for; also the key under which the answer is held.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    subject: Subject,
    model: Option<String>,
    /// Confidence in millionths: floats have no equality to hash by.
    confidence: u32,
}

/// See the [module](self).
pub struct DetectionCache {
    db: Database,
    held: Cache<Key, Arc<CachedDetections>>,
    /// Grows with each invalidation: an answer that was read before one is not kept after it.
    generation: u64,
}

/// The document of SPEC "Detection": boxes in the subject's own pixels.
#[derive(Serialize)]
struct Document {
    width: i32,
    height: i32,
    fps: f64,
    model: Option<String>,
    frames: Vec<FrameDetections>,
}

impl DetectionCache {
    pub fn new(db: Database) -> Self {
        let weigh = |_: &Key, answer: &Arc<CachedDetections>| u32::try_from(answer.body.len()).unwrap_or(u32::MAX);
        let held = Cache::builder()
            .max_capacity(HELD_BYTES)
            .weigher(weigh)
            // Needed to drop every filter's answer of one subject at once.
            .support_invalidation_closures()
            .build();
        Self { db, held, generation: 0 }
    }
}

impl Actor for DetectionCache {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(4096);
    }
}

/// Asks for the detections of a video or an export.
pub struct GetDetections {
    pub tenant: TenantId,
    pub subject: Subject,
    /// Boxes below are left out; frames stay. Default 0.5.
    pub confidence: Option<f32>,
    /// Only this model's results.
    pub model: Option<String>,
}

/// The confidence below which boxes are left out unless a reader says otherwise.
pub const DEFAULT_CONFIDENCE: f32 = 0.5;

impl Message for GetDetections {
    /// None: the tenant has no such subject.
    type Result = Result<Option<Arc<CachedDetections>>, entities::Error>;
}

impl Handler<GetDetections> for DetectionCache {
    type Result = ResponseActFuture<Self, Result<Option<Arc<CachedDetections>>, entities::Error>>;

    fn handle(&mut self, get: GetDetections, _: &mut Self::Context) -> Self::Result {
        let confidence = get.confidence.unwrap_or(DEFAULT_CONFIDENCE).clamp(0.0, 1.0);
        let key =
            Key { tenant: get.tenant, subject: get.subject, model: get.model, confidence: (confidence * 1e6) as u32 };
        if let Some(answer) = self.held.get(&key) {
            metrics::counter!("touchline_detection_reads_total", "from" => "memory").increment(1);
            return Box::pin(async move { Ok(Some(answer)) }.into_actor(self));
        }
        metrics::counter!("touchline_detection_reads_total", "from" => "database").increment(1);
        let (db, generation, asked) = (self.db.clone(), self.generation, key.clone());
        let read = async move { read(&db, &asked, confidence).await };
        Box::pin(read.into_actor(self).map(move |answer, this, _| {
            if let Ok(Some(answer)) = &answer
                && this.generation == generation
            {
                this.held.insert(key, Arc::clone(answer));
            }
            answer
        }))
    }
}

async fn read(db: &Database, key: &Key, confidence: f32) -> Result<Option<Arc<CachedDetections>>, entities::Error> {
    let Some(rows) = detections::get(db, key.tenant, key.subject).await? else {
        return Ok(None);
    };
    let fps = subject_rate(db, key).await?;
    let mut document = Document { width: 0, height: 0, fps, model: key.model.clone(), frames: Vec::new() };
    for row in rows {
        if key.model.as_ref().is_some_and(|model| *model != row.model) {
            continue;
        }
        (document.width, document.height) = (row.width, row.height);
        let mut boxes: Vec<DetectedBox> = serde_json::from_value(row.boxes).unwrap_or_default();
        boxes.retain(|found| found.confidence >= confidence);
        document.model.get_or_insert(row.model);
        document.frames.push(FrameDetections { time: row.time, frame: row.frame as u64, boxes });
    }
    let body = serde_json::to_vec(&document).expect("numbers and strings serialise");
    let etag = format!("\"{}\"", hex(&Sha256::digest(&body)[..16]));
    Ok(Some(Arc::new(CachedDetections { etag, body: body.into() })))
}

/// Frames a second of the subject.
async fn subject_rate(db: &Database, key: &Key) -> Result<f64, entities::Error> {
    Ok(match key.subject {
        Subject::Video(id) => {
            let video = videos::get(db, key.tenant, id).await?;
            video.and_then(|video| video.facts).map_or(0.0, |facts| facts["rate"].as_f64().unwrap_or(0.0))
        }
        Subject::Export(id) => {
            let export = exports::get(db, key.tenant, id).await?;
            export.map_or(0.0, |export| export.spec["output"]["fps"].as_f64().unwrap_or(0.0))
        }
    })
}

/// Forgets what is held of a subject: its detections have changed or are gone.
pub struct Invalidate {
    pub subject: Subject,
}

impl Message for Invalidate {
    type Result = ();
}

impl Handler<Invalidate> for DetectionCache {
    type Result = ();

    fn handle(&mut self, Invalidate { subject }: Invalidate, _: &mut Self::Context) {
        self.generation += 1;
        if let Err(error) = self.held.invalidate_entries_if(move |key, _| key.subject == subject) {
            tracing::error!(%error, "forgetting detections one by one failed; forgetting all");
            self.held.invalidate_all();
        }
    }
}
