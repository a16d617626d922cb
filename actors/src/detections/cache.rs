//! The actor that answers readers of detections: from memory, else from a shared Redis, else from the database. It
//! never starts inference.
//!
//! Answers are bytes that are ready to send, with their entity tag ([`store`](crate::detections::store)). A commit of
//! new detections invalidates what is held of their subject here, and on the other nodes. Where others change
//! detections too, a node may miss that message: an answer is given for a short time only before its version is
//! compared with the database's.

use std::sync::Arc;
use std::time::Instant;

use actix::{Actor, ActorFutureExt, Addr, Context, Handler, Message, ResponseActFuture, WrapFuture};
use edits::{DetectedBox, FrameDetections};
use entities::{Database, Subject, TenantId, detections, exports, videos};
use metrics::Counter;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Receiver;
use uuid::Uuid;

use super::freshness::{Held, Writers};
use crate::detections::store::{DetectionStore, Key, MEMORY, MemoryDetections, RedisDetections};
use crate::redis_connection::{PubSubEvent, RedisConnection};

pub use crate::detections::store::CachedDetections;

/// Counts reads by where their answers were found.
const READS: &str = "touchline_detection_reads_total";
/// The topic on which nodes publish whose detections changed.
pub const TOPIC: &str = "detections";

/// See the [module](self).
pub struct DetectionCache {
    db: Database,
    ready: HeldDetections,
    redis: Option<Arc<RedisDetections>>,
    /// Grows with each invalidation: an answer that was read before one is not kept after it.
    generation: u64,
}

/// What readers get as JSON: boxes in the subject's own pixels.
#[derive(Serialize)]
struct Document {
    width: i32,
    height: i32,
    fps: f64,
    model: Option<String>,
    frames: Vec<FrameDetections>,
}

impl DetectionCache {
    /// A cache before `db`, and before the Redis behind `connection`.
    pub fn new(db: Database, connection: Option<RedisConnection>) -> Self {
        let redis = connection.clone().map(|connection| Arc::new(RedisDetections::new(connection)));
        let ready = HeldDetections {
            shared_database: db.is_shared(),
            memory: Arc::default(),
            redis: connection,
            reads: metrics::counter!(READS, "from" => MEMORY),
        };
        Self { db, ready, redis, generation: 0 }
    }

    /// The ready answers, to be read before a message is sent to the actor.
    pub fn ready(&self) -> HeldDetections {
        self.ready.clone()
    }
}

/// The answers in memory that are right without reading the database. Readers use it from their own threads: most reads
/// find their answer here, and do not wait for the actor. Once the actor has answered an [`Invalidate`], the answers it
/// removed are not found any more. Cheap to clone.
#[derive(Clone)]
pub struct HeldDetections {
    shared_database: bool,
    memory: Arc<MemoryDetections>,
    redis: Option<RedisConnection>,
    /// Of [`READS`]: a lookup by name each time costs more than the answer.
    reads: Counter,
}

impl HeldDetections {
    /// The answer, where it is at hand.
    pub fn get(&self, get: &GetDetections) -> Option<Arc<CachedDetections>> {
        self.find(&get.key())
    }

    fn find(&self, key: &Key) -> Option<Arc<CachedDetections>> {
        let found = self.memory.if_right(key, self.writers(), Instant::now());
        if found.is_some() {
            self.reads.increment(1);
        }
        found
    }

    /// Another process changes a database only where it is shared.
    fn writers(&self) -> Writers {
        match self.shared_database {
            false => Writers::ThisProcess,
            true => Writers::Nodes { epoch: self.epoch() },
        }
    }

    fn epoch(&self) -> Option<u64> {
        self.redis.as_ref().and_then(RedisConnection::epoch)
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
    /// Boxes below are left out; frames stay. Rounded to hundredths. Default 0.5.
    pub confidence: Option<f32>,
    /// Only this model's results.
    pub model: Option<String>,
}

impl GetDetections {
    fn key(&self) -> Key {
        let confidence = self.confidence.unwrap_or(DEFAULT_CONFIDENCE).clamp(0.0, 1.0);
        let confidence = (confidence * 100.0).round() as u32;
        Key { tenant: self.tenant, subject: self.subject, model: self.model.clone(), confidence }
    }
}

/// The confidence below which boxes are left out unless a reader sets another.
pub const DEFAULT_CONFIDENCE: f32 = 0.5;

impl Message for GetDetections {
    /// None: the tenant has no such subject.
    type Result = Result<Option<Arc<CachedDetections>>, entities::Error>;
}

impl Handler<GetDetections> for DetectionCache {
    type Result = ResponseActFuture<Self, Result<Option<Arc<CachedDetections>>, entities::Error>>;

    fn handle(&mut self, get: GetDetections, _: &mut Self::Context) -> Self::Result {
        let key = get.key();
        if let Some(answer) = self.ready.find(&key) {
            return Box::pin(async move { Ok(Some(answer)) }.into_actor(self));
        }
        let (generation, asked_at, epoch) = (self.generation, Instant::now(), self.ready.epoch());
        let (db, memory) = (self.db.clone(), Arc::clone(&self.ready.memory));
        let (redis, asked) = (self.redis.clone(), key.clone());
        let find = async move { find(&db, &*memory, redis.as_deref(), &asked).await };
        Box::pin(find.into_actor(self).map(move |found, this, _| {
            let Some((version, answer)) = found? else { return Ok(None) };
            if this.generation == generation {
                this.ready.memory.hold(key, Arc::clone(&answer), Held { version, right_at: asked_at, epoch });
            }
            Ok(Some(answer))
        }))
    }
}

fn count(from: &'static str) {
    metrics::counter!(READS, "from" => from).increment(1);
}

/// The newest answer, with its version.
async fn find(
    db: &Database,
    memory: &dyn DetectionStore,
    redis: Option<&RedisDetections>,
    key: &Key,
) -> Result<Option<(i64, Arc<CachedDetections>)>, entities::Error> {
    // Before anything else: what is read after it is of this version or newer.
    let Some(version) = detections::version(db, key.tenant, key.subject).await? else {
        return Ok(None);
    };
    for place in [Some(memory), redis.map(|redis| redis as &dyn DetectionStore)].into_iter().flatten() {
        if let Some(answer) = place.get(key, version).await {
            count(place.name());
            return Ok(Some((version, answer)));
        }
    }
    count("database");
    let Some(answer) = read(db, key).await? else { return Ok(None) };
    if let Some(redis) = redis {
        redis.put(key, version, &answer).await;
    }
    Ok(Some((version, answer)))
}

async fn read(db: &Database, key: &Key) -> Result<Option<Arc<CachedDetections>>, entities::Error> {
    let Some(rows) = detections::get(db, key.tenant, key.subject).await? else {
        return Ok(None);
    };
    let confidence = key.confidence as f32 / 100.0;
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
    Ok(Some(Arc::new(CachedDetections::new(body.into()))))
}

/// Frames a second of the subject.
async fn subject_rate(db: &Database, key: &Key) -> Result<f64, entities::Error> {
    Ok(match key.subject {
        Subject::Video(id) => {
            let video = videos::get(db, key.tenant, id).await?;
            video.and_then(|video| video.facts).map_or(0.0, |facts| facts["rate"].as_f64().unwrap_or(0.0))
        }
        Subject::Export(id) => {
            let spec = exports::spec(db, key.tenant, id).await?;
            spec.map_or(0.0, |spec| spec["output"]["fps"].as_f64().unwrap_or(0.0))
        }
    })
}

/// Forgets what is held of a subject, here, in Redis and on the other nodes: its detections have changed or are gone.
pub struct Invalidate {
    pub tenant: TenantId,
    pub subject: Subject,
    pub change: Change,
}

/// What has become of a subject's detections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// There are others now.
    Changed,
    /// The subject was deleted.
    Gone,
}

impl Message for Invalidate {
    type Result = ();
}

impl Handler<Invalidate> for DetectionCache {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Invalidate { tenant, subject, change }: Invalidate, _: &mut Self::Context) -> Self::Result {
        self.forget(subject);
        let (redis, answers) = (self.ready.redis.clone(), self.redis.clone());
        let publish = async move {
            if let Some(answers) = answers {
                answers.forget(tenant, subject, change).await;
            }
            if let Some(redis) = redis {
                let body = serde_json::to_vec(&Changed::from(subject)).expect("an id serialises");
                // A node that misses it compares versions with the database soon after.
                let _ = redis.publish(tenant, TOPIC, &body).await;
            }
        };
        Box::pin(publish.into_actor(self))
    }
}

/// Another node has changed a subject's detections.
struct ChangedElsewhere(Subject);

impl Message for ChangedElsewhere {
    type Result = ();
}

impl Handler<ChangedElsewhere> for DetectionCache {
    type Result = ();

    fn handle(&mut self, ChangedElsewhere(subject): ChangedElsewhere, _: &mut Self::Context) {
        self.forget(subject);
    }
}

impl DetectionCache {
    fn forget(&mut self, subject: Subject) {
        self.generation += 1;
        self.ready.memory.forget(subject);
    }
}

/// A subject in messages between nodes.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Changed {
    Video(Uuid),
    Export(Uuid),
}

impl From<Subject> for Changed {
    fn from(subject: Subject) -> Self {
        match subject {
            Subject::Video(id) => Self::Video(id.uuid()),
            Subject::Export(id) => Self::Export(id.uuid()),
        }
    }
}

impl From<Changed> for Subject {
    fn from(changed: Changed) -> Self {
        match changed {
            Changed::Video(id) => Self::Video(id.into()),
            Changed::Export(id) => Self::Export(id.into()),
        }
    }
}

/// Forwards other nodes' messages on [`TOPIC`] to the cache, until the cache has stopped.
pub async fn follow(mut events: Receiver<PubSubEvent>, cache: Addr<DetectionCache>) {
    while let Some(event) = events.recv().await {
        // After a reconnection nothing is to be done: what was held before has the epoch of another connection.
        let PubSubEvent::Message { body, .. } = event else { continue };
        let subject = match serde_json::from_slice::<Changed>(&body) {
            Ok(changed) => changed.into(),
            Err(error) => {
                tracing::warn!(%error, "a message of another node about detections cannot be read");
                continue;
            }
        };
        if cache.send(ChangedElsewhere(subject)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use entities::VideoId;

    use super::*;

    #[test]
    fn confidences_that_differ_by_less_than_a_hundredth_share_an_answer() {
        let (tenant, subject) = (TenantId::new(), Subject::Video(VideoId::new()));
        let key = |confidence| GetDetections { tenant, subject, confidence, model: None }.key().confidence;
        assert_eq!([key(None), key(Some(0.5)), key(Some(0.4999)), key(Some(0.51))], [50, 50, 50, 51]);
        assert_eq!([key(Some(-1.0)), key(Some(f32::NAN)), key(Some(7.0))], [0, 0, 100]);
    }
}
