//! A node's render processes, as exports use them: to prepare, to render a segment or the sound, to join.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use edits::FrameDetections;
use tokio::runtime::Handle;

use super::device_port::{DevicePort, DeviceTimes};
use super::error::ProcessError;
use super::message::{Answer, Message};
use super::owner::{Listener, RenderProcesses, Started};
use super::rendering::Rendering;
use super::task::{Output, Task, Work};
use super::trace::Rows;
use super::watch::{Patience, Signs};
use crate::inference::device::{MOST_BOXES, MOST_LABEL_BYTES};
use crate::render::{Joined, Prepared, SegmentPlan, TaskMeter};

/// What rendering a part gave, beside its file.
#[derive(Debug, Default)]
pub struct Rendered {
    pub frames: u64,
    pub frames_inferred: u64,
    pub detections: Vec<FrameDetections>,
    pub times: DeviceTimes,
}

impl RenderProcesses {
    /// Reads what the segments of an export depend on.
    ///
    /// # Errors
    /// See [`ProcessError`]; [`media::MediaError::Cancelled`] when `of` was stopped meanwhile.
    pub async fn prepare(&self, of: &Arc<Rendering>, work: Arc<Work>) -> Result<Prepared, ProcessError> {
        let task = Task::Prepare { work };
        let doing = task.doing();
        match self.render(of, task, "prepare", 0).await? {
            (Answer::Prepared(prepared), _) => Ok(prepared),
            _ => Err(ProcessError::WrongAnswer { doing }),
        }
    }

    /// Renders a part of an export.
    ///
    /// # Errors
    /// As [`RenderProcesses::prepare`].
    pub async fn segment(
        &self,
        of: &Arc<Rendering>,
        work: Arc<Work>,
        segment: SegmentPlan,
        out: Output,
    ) -> Result<Rendered, ProcessError> {
        let planned = segment.frames;
        let thread = format!("encode-segment-{}", segment.index);
        let task = Task::Segment { work, segment, out };
        let doing = task.doing();
        match self.render(of, task, &thread, planned).await? {
            (Answer::Rendered(rendered, notes), times)
                if rendered.frames <= planned
                    && rendered.frames_inferred <= times.frames
                    && are_plausible(&rendered.detections, times.frames) =>
            {
                of.meter.note(notes);
                let (frames, frames_inferred) = (rendered.frames, rendered.frames_inferred);
                Ok(Rendered { frames, frames_inferred, detections: rendered.detections, times })
            }
            _ => Err(ProcessError::WrongAnswer { doing }),
        }
    }

    /// Renders the sound of an export.
    ///
    /// # Errors
    /// As [`RenderProcesses::prepare`].
    pub async fn audio(&self, of: &Arc<Rendering>, work: Arc<Work>, out: Output) -> Result<Rendered, ProcessError> {
        let task = Task::Audio { work, out };
        let doing = task.doing();
        match self.render(of, task, "encode-audio-0", 0).await? {
            (Answer::Rendered(_, notes), _) => {
                of.meter.note(notes);
                Ok(Rendered::default())
            }
            _ => Err(ProcessError::WrongAnswer { doing }),
        }
    }

    /// Joins the parts of an export, all of them files in the folder `parts`.
    ///
    /// # Errors
    /// As [`RenderProcesses::prepare`].
    pub async fn join(
        &self,
        of: &Arc<Rendering>,
        work: Arc<Work>,
        (parts, segments, audio): (PathBuf, Vec<PathBuf>, Option<PathBuf>),
        out: Output,
    ) -> Result<Joined, ProcessError> {
        let task = Task::Join { work, parts, segments, audio, out };
        let doing = task.doing();
        match self.render(of, task, "join", 0).await? {
            (Answer::Joined(joined, notes), _) => {
                of.meter.note(notes);
                Ok(joined)
            }
            _ => Err(ProcessError::WrongAnswer { doing }),
        }
    }

    /// Does a task of an export. `thread` is the name of the thread that listens to it, `frames` the most output frames
    /// that it may claim to have made. One whose process was lost together with others is done once more: that says nothing
    /// of the task.
    async fn render(
        &self,
        of: &Arc<Rendering>,
        task: Task,
        thread: &str,
        frames: u64,
    ) -> Result<(Answer, DeviceTimes), ProcessError> {
        match self.render_once(of, task.clone(), thread, frames).await {
            Err(error) if error.is_lost() => self.render_once(of, task, thread, frames).await,
            rendered => rendered,
        }
    }

    async fn render_once(
        &self,
        of: &Arc<Rendering>,
        task: Task,
        thread: &str,
        frames: u64,
    ) -> Result<(Answer, DeviceTimes), ProcessError> {
        let patience = Patience::while_it_advances(self.stall()).unless_raised(&of.stop);
        let (rendering, runtime, slots) = (Arc::clone(of), Handle::current(), task.slots());
        let decoder = format!("decode-{}", thread.rsplit_once('-').map_or("0", |(_, number)| number));
        let listen = move |started: Started| {
            Ok(Ear {
                signs: Arc::clone(&started.signs),
                task: rendering.meter.task(frames),
                rows: started.traced.then(|| Rows::new(decoder)),
                devices: match slots.count {
                    0 => None,
                    _ => Some(DevicePort::start(rendering, started, slots, &runtime)?),
                },
            })
        };
        let (answer, _, times) = self.follow(task, patience, Some(thread.to_owned()), listen).await?;
        Ok((answer, times))
    }
}

/// Whether detections can be what devices answered for so many pictures.
fn are_plausible(detections: &[FrameDetections], pictures: u64) -> bool {
    let boxes: usize = detections.iter().map(|frame| frame.boxes.len()).sum();
    let labelled = |frame: &FrameDetections| frame.boxes.iter().all(|found| found.label.len() <= MOST_LABEL_BYTES);
    detections.len() as u64 <= pictures
        && boxes as u64 <= pictures.saturating_mul(MOST_BOXES as u64)
        && detections.iter().all(labelled)
}

/// The listener of a task of an export.
struct Ear {
    signs: Arc<Signs>,
    task: TaskMeter,
    /// Where something is traced.
    rows: Option<Rows>,
    devices: Option<DevicePort>,
}

impl Listener for Ear {
    type Heard = DeviceTimes;

    fn hear(&mut self, message: Message) -> bool {
        match message {
            Message::Advance { advance, memory_bytes } => {
                self.signs.beats.fetch_add(1, Relaxed);
                self.task.advanced(advance, memory_bytes);
                true
            }
            Message::Trace { row, slice, begins } => self.rows.as_mut().is_some_and(|rows| {
                rows.follow(row, slice, begins);
                true
            }),
            Message::Submit(submission) => self.devices.as_ref().is_some_and(|devices| devices.take(submission)),
            Message::Beat | Message::Log(_) | Message::Done(_) => false,
        }
    }

    fn end(self, whole: bool) -> DeviceTimes {
        if whole {
            self.task.keep();
        }
        self.devices.map(DevicePort::end).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use edits::DetectedBox;

    use super::*;

    #[test]
    fn detections_are_no_more_than_devices_can_have_answered() {
        let found = DetectedBox { x: 0.0, y: 0.0, width: 1.0, height: 1.0, confidence: 0.5, label: "person".into() };
        let frame = |boxes: Vec<DetectedBox>| FrameDetections { time: 0.0, frame: 0, boxes };
        assert!(are_plausible(&[frame(vec![found.clone(); 20])], 1));
        assert!(!are_plausible(&[frame(Vec::new())], 0), "no picture was with a device");
        assert!(!are_plausible(&[frame(vec![found.clone(); 1001])], 1));
        assert!(!are_plausible(&[frame(vec![DetectedBox { label: "x".repeat(65), ..found }])], 1));
    }
}
