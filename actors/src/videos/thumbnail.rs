//! Small pictures of a video, for lists and timelines: made on request, and held in memory, bounded by their bytes.

use std::sync::Arc;

use bytes::Bytes;
use edits::SourceRef;
use entities::{TenantId, VideoId};
use moka::sync::Cache;
use tokio::sync::Semaphore;

use super::error::FrameDetectionError;
use super::frame::{self, FrameChoice};
use crate::context::NodeContext;
use crate::sources;
use crate::threads::blocking;

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

/// The pictures that are held, and the permits to make one.
pub struct Thumbnails {
    held: Cache<Key, Bytes>,
    permits: Arc<Semaphore>,
}

impl Default for Thumbnails {
    fn default() -> Self {
        let weigh = |_: &Key, bytes: &Bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self {
            held: Cache::builder().max_capacity(HELD_BYTES).weigher(weigh).build(),
            permits: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }
}

/// A picture of the tenant's video, at most `width` pixels wide and never wider than the video, at `time` source seconds;
/// without one, a tenth into the video, which is seldom black.
pub(super) async fn make(
    context: &NodeContext,
    thumbnails: &Thumbnails,
    (tenant, video): (TenantId, VideoId),
    time: Option<f64>,
    width: u32,
) -> Result<Thumbnail, FrameDetectionError> {
    let id = video.to_string();
    let source = sources::open(context, tenant, SourceRef::Video(&id)).await?;
    let time = time.unwrap_or_else(|| edits::rational::to_f64(source.facts.frames.duration()) / 10.0);
    let frame = frame::number(&source, FrameChoice::Time(time))?;
    let size = fitted((source.facts.width, source.facts.height), width);
    let key = Key { tenant, video, frame, size };
    if let Some(bytes) = thumbnails.held.get(&key) {
        return Ok(Thumbnail { frame, bytes });
    }
    let permit = Arc::clone(&thumbnails.permits).acquire_owned().await.map_err(|_| FrameDetectionError::Stopping)?;
    let encode = move || {
        // Held while the work runs, also when the request was given up meanwhile.
        let _permit = permit;
        media::jpeg(&frame::picture(&source, frame, size)?)
    };
    let bytes = Bytes::from(blocking("making a thumbnail", encode).await??);
    thumbnails.held.insert(key, bytes.clone());
    Ok(Thumbnail { frame, bytes })
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
