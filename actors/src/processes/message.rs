//! What a render process and its owner say to each other.

use std::borrow::Cow;

use edits::DetectedBox;
use serde::{Deserialize, Serialize};

use super::task::Task;
use crate::inference::queue::{DeviceFault, TaskKind};
use crate::render::{Advance, Joined, Notes, Prepared, RenderError, RenderedSegment, Slice};

/// What a process is given: the task, and what it tells of its work.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub task: Task,
    pub log: Threshold,
    /// Whether its slices are traced.
    pub trace: bool,
}

/// The most detailed level that is logged: 0 none, 1 errors, to 5 everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threshold(pub u8);

/// A line of a process's log.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    /// 0 an error, to 4 the finest detail.
    pub level: u8,
    pub text: String,
}

/// What a process sends.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// It advances.
    Beat,
    /// A render advances, and has held so much memory so far.
    Advance { advance: Advance, memory_bytes: u64 },
    /// It logged something.
    Log(Line),
    /// A thread of it begins or ends what a trace shows.
    Trace { row: Row, slice: Slice, begins: bool },
    /// The picture in a slot is to be worked on.
    Submit(Submission),
    /// It is done: the last message.
    Done(Result<Answer, RenderError>),
}

/// A row of a trace: a thread of a render process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Row {
    /// The one that does the task.
    Main,
    /// The one that decodes for it.
    Decoder,
}

/// A picture that lies in a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    pub slot: u32,
    pub kind: TaskKind,
    pub width: u32,
    pub height: u32,
}

/// What a process is sent beside its order: the answer for the picture in a slot.
#[derive(Debug, Serialize, Deserialize)]
pub struct Reply {
    pub slot: u32,
    pub answer: Result<Worked, DeviceFault>,
}

/// What a device made of a picture.
#[derive(Debug, Serialize, Deserialize)]
pub enum Worked {
    /// A picture of this size, which lies in the slot.
    Image {
        width: u32,
        height: u32,
    },
    Boxes(Vec<DetectedBox>),
}

/// What came of a task. What is large and the owner keeps as bytes is attached to its message.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// [`Task::Check`]: whether its files are confined as well.
    Confined { files: bool },
    /// [`Task::Inspect`] and [`Task::Scan`]: what was found, as JSON.
    Facts(String),
    /// [`Task::Index`]: the index as bytes.
    Index(#[serde(skip)] Vec<u8>),
    /// [`Task::Picture`] as JPEG.
    Jpeg(#[serde(skip)] Vec<u8>),
    /// [`Task::Picture`] as RGB: it lies in the exchange.
    Picture,
    /// [`Task::Prepare`].
    Prepared(#[serde(skip)] Prepared),
    /// [`Task::Segment`], and [`Task::Audio`], whose sound has no frames.
    Rendered(RenderedSegment, Notes),
    /// [`Task::Join`].
    Joined(Joined, Notes),
}

impl Answer {
    /// What is attached to its message.
    pub fn attached(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Index(bytes) | Self::Jpeg(bytes) => Cow::Borrowed(bytes),
            Self::Prepared(prepared) => Cow::Borrowed(prepared.bytes()),
            Self::Rendered(RenderedSegment { detections, .. }, _) if !detections.is_empty() => {
                Cow::Owned(postcard::to_allocvec(detections).expect("numbers and texts can be written to memory"))
            }
            _ => Cow::Borrowed(&[]),
        }
    }

    /// The answer with what was attached to its message. None: that cannot be.
    pub fn with(self, attached: Vec<u8>) -> Option<Self> {
        Some(match self {
            Self::Index(_) => Self::Index(attached),
            Self::Jpeg(_) => Self::Jpeg(attached),
            Self::Prepared(_) => Self::Prepared(Prepared::from_bytes(attached)),
            answer if attached.is_empty() => answer,
            Self::Rendered(segment, notes) => {
                let detections = postcard::from_bytes(&attached).ok()?;
                Self::Rendered(RenderedSegment { detections, ..segment }, notes)
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use edits::FrameDetections;

    use super::*;

    #[test]
    fn what_is_attached_comes_back_with_its_answer() {
        let found = FrameDetections { time: 0.5, frame: 7, boxes: Vec::new() };
        let rendered = RenderedSegment { frames: 1, frames_inferred: 1, detections: vec![found; 100] };
        for answer in [
            Answer::Index(vec![1; 100]),
            Answer::Jpeg(vec![3; 100]),
            Answer::Prepared(Prepared::from_bytes(vec![4; 100])),
            Answer::Rendered(rendered, Notes::default()),
        ] {
            let attached = answer.attached().to_vec();
            let sent = postcard::to_allocvec(&answer).unwrap();
            assert!(sent.len() < 10 && attached.len() >= 100, "{answer:?} is sent as {sent:?}");
            let received: Answer = postcard::from_bytes(&sent).unwrap();
            assert_eq!(format!("{:?}", received.with(attached)), format!("{:?}", Some(answer)));
        }
        assert!(Answer::Picture.with(vec![0]).is_none());
        assert!(Answer::Rendered(RenderedSegment::default(), Notes::default()).with(vec![0xff]).is_none());
    }
}
