//! Small pictures of a video, for lists and timelines: made when they are asked for, and held in memory for a while.

use std::sync::Arc;

use bytes::Bytes;
use edits::SourceRef;
use entities::{TenantId, VideoId};
use moka::sync::Cache;
use tokio::sync::Semaphore;

use crate::node::Node;
use crate::videos::frame_detection::{FrameChoice, FrameDetectionError, blocking, frame_number, picture};
use crate::videos::source;

/// Bytes of pictures held in memory.
const HELD_BYTES: u64 = 32 << 20;
/// Pictures made at a time: each decodes up to a group of pictures, and exports want the cores, too.
const AT_A_TIME: usize = 2;

/// A picture of a video, ready to be sent.
#[derive(Debug, Clone)]
pub struct Thumbnail {
    /// Which frame it shows.
    pub frame: usize,
    /// JPEG.
    pub bytes: Bytes,
}

/// What a picture is made of; also the key under which it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    video: VideoId,
    frame: usize,
    size: (u32, u32),
}

/// The pictures that are held, and who may make one.
pub struct Thumbnails {
    held: Cache<Key, Bytes>,
    turns: Arc<Semaphore>,
}

impl Default for Thumbnails {
    fn default() -> Self {
        let weigh = |_: &Key, bytes: &Bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self {
            held: Cache::builder().max_capacity(HELD_BYTES).weigher(weigh).build(),
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }
}

impl Node {
    /// A picture of the tenant's video, at most `width` pixels wide and never wider than the video, at `time` source
    /// seconds; without one, a tenth into the video, where something may be seen already.
    ///
    /// # Errors
    /// See [`FrameDetectionError`].
    pub async fn thumbnail(
        &self,
        tenant: TenantId,
        video: VideoId,
        time: Option<f64>,
        width: u32,
    ) -> Result<Thumbnail, FrameDetectionError> {
        let context = &self.context;
        let id = video.to_string();
        let source = source::open(context, tenant, SourceRef::Video(&id)).await?;
        let time = time.unwrap_or_else(|| edits::rational::to_f64(source.facts.frames.duration()) / 10.0);
        let frame = frame_number(&source, FrameChoice::Time(time))?;
        let size = fitted((source.facts.width, source.facts.height), width);
        let key = Key { tenant, video, frame, size };
        if let Some(bytes) = context.thumbnails.held.get(&key) {
            return Ok(Thumbnail { frame, bytes });
        }
        let turn =
            Arc::clone(&context.thumbnails.turns).acquire_owned().await.map_err(|_| FrameDetectionError::Stopping)?;
        let made = move || {
            // Held while the work runs, also when nobody waits for it any more.
            let _turn = turn;
            media::jpeg(&picture(&source, frame, size)?)
        };
        let bytes = Bytes::from(blocking(made).await??);
        context.thumbnails.held.insert(key, bytes.clone());
        Ok(Thumbnail { frame, bytes })
    }
}

/// The picture's size: of the video's shape, even, not enlarged.
fn fitted((width, height): (u32, u32), wanted: u32) -> (u32, u32) {
    let even = |side: f64| ((side / 2.0).round() as u32 * 2).max(2);
    let narrow = wanted.min(width).max(2);
    (even(f64::from(narrow)), even(f64::from(height) * f64::from(narrow) / f64::from(width)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_keeps_the_shape_and_is_not_enlarged() {
        assert_eq!(fitted((1920, 1080), 320), (320, 180));
        assert_eq!(fitted((768, 576), 4000), (768, 576));
        assert_eq!(fitted((1080, 1920), 321), (322, 570));
    }
}
