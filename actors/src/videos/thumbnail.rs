//! Small pictures of a video, for lists and timelines: made on request, and held in memory, bounded by their bytes.

use bytes::Bytes;
use edits::SourceRef;
use entities::{TenantId, VideoId};
use moka::sync::Cache;

use super::decode_gate::DecodeGate;
use super::error::FrameDetectionError;
use super::frame::{self, FrameChoice};
use crate::context::NodeContext;
use crate::sources;

/// Bytes of pictures held in memory.
const HELD_BYTES: u64 = 32 << 20;
/// Questions whose answer is known.
const ASKED: u64 = 100_000;

/// A picture of a video, ready to be sent.
#[derive(Debug, Clone)]
pub struct Thumbnail {
    /// Which frame it shows.
    pub frame: usize,
    /// JPEG.
    pub bytes: Bytes,
}

/// A question for a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Asked {
    tenant: TenantId,
    video: VideoId,
    /// Source seconds, as bits.
    time: Option<u64>,
    width: u32,
}

/// What a picture is made of; also the key under which it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    tenant: TenantId,
    video: VideoId,
    frame: usize,
    size: (u32, u32),
}

/// The pictures that are held.
pub struct Thumbnails {
    /// Which picture answers a question: finding it out takes the video's frame index, which is large.
    asked: Cache<Asked, Key>,
    held: Cache<Key, Bytes>,
}

impl Default for Thumbnails {
    fn default() -> Self {
        let weigh = |_: &Key, bytes: &Bytes| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self {
            asked: Cache::builder().max_capacity(ASKED).build(),
            held: Cache::builder().max_capacity(HELD_BYTES).weigher(weigh).build(),
        }
    }
}

impl Thumbnails {
    fn known(&self, asked: &Asked) -> Option<Thumbnail> {
        let key = self.asked.get(asked)?;
        Some(Thumbnail { frame: key.frame, bytes: self.held.get(&key)? })
    }
}

/// A picture of the tenant's video, at most `width` pixels wide and never wider than the video, at `time` source seconds;
/// without one, a tenth into the video, which is seldom black. One that is held is answered before anything is read or
/// waited for.
pub(super) async fn make(
    context: &NodeContext,
    (thumbnails, gate): (&Thumbnails, &DecodeGate),
    (tenant, video): (TenantId, VideoId),
    time: Option<f64>,
    width: u32,
) -> Result<Thumbnail, FrameDetectionError> {
    let asked = Asked { tenant, video, time: time.map(f64::to_bits), width };
    if let Some(known) = thumbnails.known(&asked) {
        return Ok(known);
    }
    let permit = gate.enter(tenant).await.map_err(|_| FrameDetectionError::Stopping)?;
    // A request before this one may have asked for the same.
    if let Some(known) = thumbnails.known(&asked) {
        return Ok(known);
    }
    let id = video.to_string();
    let source = sources::open(context, tenant, SourceRef::Video(&id)).await?;
    let time = time.unwrap_or_else(|| edits::rational::to_f64(source.facts.frames.duration()) / 10.0);
    let frame = frame::number(&source, FrameChoice::Time(time))?;
    let size = fitted((source.facts.width, source.facts.height), width);
    let key = Key { tenant, video, frame, size };
    thumbnails.asked.insert(asked, key);
    if let Some(bytes) = thumbnails.held.get(&key) {
        return Ok(Thumbnail { frame, bytes });
    }
    // A request that is given up ends the process that works for it.
    let bytes = Bytes::from(context.processes.thumbnail(frame::picture(&source, frame, size)).await?);
    drop(permit);
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
    fn a_question_that_was_answered_is_known_by_what_was_asked() {
        let thumbnails = Thumbnails::default();
        let (tenant, video) = (TenantId::new(), VideoId::new());
        let asked = Asked { tenant, video, time: None, width: 320 };
        let key = Key { tenant, video, frame: 7, size: (320, 180) };
        assert!(thumbnails.known(&asked).is_none());
        thumbnails.asked.insert(asked, key);
        assert!(thumbnails.known(&asked).is_none(), "the picture itself is not held");
        thumbnails.held.insert(key, Bytes::from_static(b"jpeg"));
        let known = thumbnails.known(&asked).unwrap();
        assert_eq!((known.frame, &known.bytes[..]), (7, &b"jpeg"[..]));
        let other = Asked { tenant: TenantId::new(), ..asked };
        assert!(thumbnails.known(&other).is_none(), "another tenant's question");
    }

    #[test]
    fn a_picture_keeps_the_shape_and_is_not_enlarged() {
        assert_eq!(fitted((1920, 1080), 320), (320, 180));
        assert_eq!(fitted((768, 576), 4000), (768, 576));
        assert_eq!(fitted((1080, 1920), 321), (322, 570));
    }
}
