//! What can be asked of a render process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use entities::Subject;
use sandbox::{Access, Bounds};
use serde::{Deserialize, Serialize};

use crate::render::{Prepared, SegmentPlan};

/// Open files of a task beside the parts that it joins.
const OPEN_FILES: u64 = 64;
/// Bytes of a message about anything but frames: what is found in a file, its warnings, a line of the log.
const MESSAGE_BYTES: usize = 2 << 20;
/// Bytes of what is found in one frame: no detector answers a thousand boxes.
const FRAME_BYTES: usize = 32 << 10;
/// Bytes of a picture as JPEG, and of what is found in all frames or packets of a file.
const JPEG_BYTES: usize = 16 << 20;
const FILE_BYTES: usize = 256 << 20;

/// A task, of one tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Task {
    /// Nothing: whether a process can be confined here.
    Check,
    /// The file's header and one decoded frame.
    Inspect { path: PathBuf },
    /// The frames of the whole file, or, for a render that needs no more, of what lies between these seconds.
    Index { path: PathBuf, around: Option<(f64, f64)> },
    /// One displayed frame.
    Picture(PictureTask),
    /// The whole file, decoded once.
    Scan { path: PathBuf },
    /// What the segments of an export depend on in its sources.
    Prepare { work: Arc<Work> },
    /// A part of an export.
    Segment { work: Arc<Work>, segment: SegmentPlan, out: Output },
    /// The sound of an export.
    Audio { work: Arc<Work>, out: Output },
    /// The result of an export, of its parts in `parts`.
    Join { work: Arc<Work>, parts: PathBuf, segments: Vec<PathBuf>, audio: Option<PathBuf>, out: Output },
}

/// Where a task writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// A folder of this task alone.
    pub folder: PathBuf,
    /// A file in it.
    pub file: PathBuf,
}

/// An export, as a process plans it again: every process of it gets the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Work {
    /// Its spec as JSON.
    pub spec: String,
    /// Its numeric profile as JSON.
    pub profile: String,
    pub segment_seconds: f64,
    /// The files it reads, each once.
    pub files: Vec<SourceFile>,
    /// Which of the files each of its sources is.
    pub sources: Vec<u32>,
    pub prepared: Prepared,
    /// Frames of one segment that may be on their way through the devices.
    pub window: u32,
    pub slots: Slots,
}

/// A file of an export's sources.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourceFile {
    pub subject: Subject,
    pub path: PathBuf,
    /// Displayed size.
    pub size: (u32, u32),
    /// Frames a second, as a fraction.
    pub rate: (u32, u32),
    pub has_audio: bool,
    /// Its frame index as bytes.
    pub index: Vec<u8>,
}

/// Room in the exchange for pictures on their way to the devices and back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    pub count: u32,
    /// Of each, in bytes: for the picture that is sent and, in its place, the one that comes back.
    pub bytes: u64,
}

impl Slots {
    /// Where a slot begins.
    pub fn offset(self, slot: u32) -> u64 {
        u64::from(slot) * self.bytes
    }

    /// Bytes of all slots.
    pub fn total_bytes(self) -> u64 {
        u64::from(self.count) * self.bytes
    }

    /// Whether a picture of this size has room in a slot.
    pub fn have_room(self, width: u32, height: u32) -> bool {
        width > 0 && height > 0 && u64::from(width) * u64::from(height) <= self.bytes / 3
    }
}

/// One displayed frame, scaled to a size.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PictureTask {
    pub path: PathBuf,
    /// The file's frame index as bytes.
    pub index: Vec<u8>,
    pub frame: u64,
    /// Displayed size of the file's pictures.
    pub source_size: (u32, u32),
    pub size: (u32, u32),
    /// True: as JPEG, in the answer. False: as RGB, in the exchange.
    pub jpeg: bool,
}

impl Task {
    /// What is done, as errors and metrics name it.
    pub fn doing(&self) -> &'static str {
        match self {
            Self::Check => "confining a process",
            Self::Inspect { .. } => "inspecting the file",
            Self::Index { .. } => "indexing the file",
            Self::Picture(PictureTask { jpeg: true, .. }) => "making a thumbnail",
            Self::Picture(_) => "decoding a frame",
            Self::Scan { .. } => "decoding the whole file",
            Self::Prepare { .. } => "reading the sources",
            Self::Segment { .. } => "rendering",
            Self::Audio { .. } => "rendering the sound",
            Self::Join { .. } => "joining",
        }
    }

    /// The kind of task, a metric's label and the name of its failpoint.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Inspect { .. } => "inspect",
            Self::Index { .. } => "index",
            Self::Picture(PictureTask { jpeg: true, .. }) => "thumbnail",
            Self::Picture(_) => "frame",
            Self::Scan { .. } => "scan",
            Self::Prepare { .. } => "prepare",
            Self::Segment { .. } => "segment",
            Self::Audio { .. } => "audio",
            Self::Join { .. } => "join",
        }
    }

    /// The files it may open.
    pub fn access(&self) -> Access {
        let one = |path: &Path| Access { read: vec![path.to_owned()], ..Access::default() };
        let of = |work: &Work, out: Option<&Output>| Access {
            read: work.files.iter().map(|file| file.path.clone()).collect(),
            work: out.map(|out| out.folder.clone()),
            ..Access::default()
        };
        match self {
            Self::Check => Access::default(),
            Self::Inspect { path } | Self::Index { path, .. } | Self::Scan { path } => one(path),
            Self::Picture(task) => one(&task.path),
            Self::Prepare { work } => of(work, None),
            Self::Segment { work, out, .. } | Self::Audio { work, out } => of(work, Some(out)),
            Self::Join { work, parts, out, .. } => Access { read_below: Some(parts.clone()), ..of(work, Some(out)) },
        }
    }

    /// Files that it has open at once at most: those of its libraries, and when parts are put into a source, all of them.
    pub fn open_files(&self) -> u64 {
        let parts = if let Self::Join { segments, .. } = self { segments.len() as u64 } else { 0 };
        OPEN_FILES + parts
    }

    /// The room for its pictures on their way to the devices and back: only segments have any.
    pub fn slots(&self) -> Slots {
        if let Self::Segment { work, .. } = self { work.slots } else { Slots::default() }
    }

    /// Bytes of pictures that it may hold of those that devices worked on: twice as many as are on their way, because two
    /// are shown in a dissolve.
    pub fn picture_bytes(&self) -> u64 {
        2 * self.slots().total_bytes()
    }

    /// How large its messages may be.
    pub fn message_bounds(&self) -> Bounds {
        let attached = match self {
            Self::Index { .. } | Self::Prepare { .. } => FILE_BYTES,
            Self::Picture(PictureTask { jpeg: true, .. }) => JPEG_BYTES,
            Self::Segment { segment, .. } if self.slots().count > 0 => {
                usize::try_from(segment.frames).unwrap_or(usize::MAX).saturating_mul(FRAME_BYTES).min(FILE_BYTES)
            }
            _ => 0,
        };
        Bounds { value: MESSAGE_BYTES, attached }
    }

    /// Bytes that it passes through the exchange.
    pub fn exchange_bytes(&self) -> u64 {
        match self {
            Self::Picture(PictureTask { jpeg: false, size: (width, height), .. }) => {
                u64::from(*width) * u64::from(*height) * 3
            }
            task => task.slots().total_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_fits_its_slot_or_not() {
        let slots = Slots { count: 2, bytes: 30 };
        assert!(slots.have_room(5, 2) && slots.have_room(10, 1));
        assert!(!slots.have_room(11, 1) && !slots.have_room(0, 1) && !slots.have_room(u32::MAX, u32::MAX));
        assert_eq!(slots.offset(1), 30);
    }

    #[test]
    fn only_what_frames_and_files_are_made_of_is_large() {
        let path = PathBuf::from("match.mp4");
        let bounds = |task: &Task| task.message_bounds();
        assert_eq!(bounds(&Task::Inspect { path: path.clone() }), Bounds { value: MESSAGE_BYTES, attached: 0 });
        let index = Task::Index { path, around: None };
        assert_eq!(bounds(&index), Bounds { value: MESSAGE_BYTES, attached: FILE_BYTES });
        let work = |count| Work {
            spec: String::new(),
            profile: String::new(),
            segment_seconds: 1.0,
            files: Vec::new(),
            sources: Vec::new(),
            prepared: Prepared::default(),
            window: 1,
            slots: Slots { count, bytes: 1 },
        };
        let segment = |count, frames| Task::Segment {
            work: Arc::new(work(count)),
            segment: SegmentPlan { index: 0, first_frame: 0, frames },
            out: Output { folder: PathBuf::new(), file: PathBuf::new() },
        };
        assert_eq!(bounds(&segment(0, 1000)).attached, 0, "no device, no detections");
        assert_eq!(bounds(&segment(4, 10)).attached, 10 * FRAME_BYTES);
        assert_eq!(bounds(&segment(4, u64::MAX)).attached, FILE_BYTES);
    }
}
