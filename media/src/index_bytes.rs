//! A frame index as bytes, to be kept beside its video: little-endian, versioned, a few bytes per seek point.

use std::sync::Arc;

use edits::FrameTimes;

use crate::error::{MediaError, Result};
use crate::index::{FrameIndex, Key};
use crate::joins::{Joins, Point, Track};
use crate::packets::Stamp;

const VERSION: u8 = 2;
/// Without [`Joins`] and late sound: of files that were indexed before these were looked for.
const WITHOUT_JOINS: u8 = 1;

impl FrameIndex {
    /// The index as bytes for [`FrameIndex::from_bytes`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION, self.stamp as u8];
        let mut number = |value: i64| bytes.extend(value.to_le_bytes());
        number(self.stream as i64);
        number(self.keys.len() as i64);
        for key in &self.keys {
            number(key.stamp);
            number(key.dts);
            number(key.frame as i64);
        }
        let stamps = self.stamps.as_deref().unwrap_or_default();
        number(stamps.len() as i64);
        stamps.iter().copied().for_each(&mut number);
        number(self.late_sound.map_or(-1, |stream| stream as i64));
        if let Some(joins) = &self.joins {
            joins.write(&mut number);
        } else {
            number(0);
        }
        let warnings = self.warnings.join("\n");
        number(warnings.len() as i64);
        bytes.extend(warnings.as_bytes());
        bytes.extend(self.times.to_bytes());
        bytes
    }

    /// Reads what [`FrameIndex::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when the bytes are no index of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::read(&mut Reader(bytes))
            .ok_or_else(|| MediaError::codec("reading a frame index", "the bytes are no index of this version"))
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let [version @ (VERSION | WITHOUT_JOINS)] = reader.take(1)? else { return None };
        let stamp = match reader.take(1)? {
            [0] => Stamp::Pts,
            [1] => Stamp::Dts,
            [2] => Stamp::Order,
            _ => return None,
        };
        let stream = reader.count()?;
        let mut keys = Vec::new();
        for _ in 0..reader.count()? {
            keys.push(Key { stamp: reader.number()?, dts: reader.number()?, frame: reader.count()? });
        }
        let mut stamps = Vec::new();
        for _ in 0..reader.count()? {
            stamps.push(reader.number()?);
        }
        let (late_sound, joins) = match *version {
            WITHOUT_JOINS => (None, None),
            _ => (usize::try_from(reader.number()?).ok(), Joins::read(reader)?),
        };
        let length = reader.count()?;
        let warnings = std::str::from_utf8(reader.take(length)?).ok()?;
        let times = FrameTimes::from_bytes(reader.0).ok()?;
        let in_range = |frame: &usize| *frame < times.len();
        let stamps = (!stamps.is_empty()).then_some(stamps);
        if !keys.iter().all(|key| in_range(&key.frame)) || stamps.as_ref().is_some_and(|s| s.len() != times.len()) {
            return None;
        }
        let mut keyframes: Vec<usize> = keys.iter().map(|key| key.frame).collect();
        keyframes.dedup();
        Some(Self {
            times: Arc::new(times),
            keyframes,
            warnings: warnings.lines().map(str::to_owned).collect(),
            stream,
            stamp,
            keys,
            stamps,
            joins: joins.map(Arc::new),
            late_sound,
        })
    }
}

impl Joins {
    /// Tracks, of which there is at least one, then starts and keys.
    fn write(&self, number: &mut impl FnMut(i64)) {
        number(self.tracks.len() as i64);
        for track in &self.tracks {
            number(track.stream as i64);
            number(i64::from(track.wrap_bits));
            number(track.points.len() as i64);
            for point in &track.points {
                [point.position, point.offset, point.span.0, point.span.1].into_iter().for_each(&mut *number);
            }
        }
        number(self.starts.len() as i64);
        self.starts.iter().copied().for_each(&mut *number);
        number(self.keys.len() as i64);
        self.keys.iter().flat_map(|&(decoded, position)| [decoded, position]).for_each(number);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Option<Self>> {
        let (mut tracks, mut starts, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        let count = reader.count()?;
        if count == 0 {
            return Some(None);
        }
        for _ in 0..count {
            let (stream, wrap_bits) = (reader.count()?, u32::try_from(reader.count()?).ok()?);
            let mut points = Vec::new();
            for _ in 0..reader.count()? {
                let (position, offset) = (reader.number()?, reader.number()?);
                points.push(Point { position, offset, span: (reader.number()?, reader.number()?) });
            }
            tracks.push(Track { stream, wrap_bits, points });
        }
        for _ in 0..reader.count()? {
            starts.push(reader.number()?);
        }
        for _ in 0..reader.count()? {
            keys.push((reader.number()?, reader.number()?));
        }
        let sound = |track: &Track| {
            (1..=64).contains(&track.wrap_bits) && track.points.is_sorted_by_key(|point| point.position)
        };
        tracks.iter().all(sound).then_some(Some(Self { tracks, starts, keys }))
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn number(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn count(&mut self) -> Option<usize> {
        usize::try_from(self.number()?).ok()
    }
}
