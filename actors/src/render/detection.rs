//! Detection over a list of times of one video: frames are decoded in order and go to the devices in batches. Parts
//! are cut between groups of pictures, so that each is decoded once and several side by side. The result is a JSON
//! document; the boxes are the video's, in source pixels.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use edits::{CropRect, DetectionSpec, FieldError, FrameDetections, SourceFacts};
use entities::ExportId;
use media::Cropper;
use serde::{Deserialize, Serialize};

use super::{
    Detected, Joined, Pending, Render, RenderContext, RenderError, RenderedSegment, SegmentPlan, Source, Stage,
    Workload,
};
use crate::inference::queue::{Output, TaskKind};

/// See the [module](self).
pub struct Detection {
    source: Source,
    /// Source frames to look at, ascending.
    frames: Vec<usize>,
    segments: Vec<SegmentPlan>,
    confidence: f32,
}

/// Frames a part has at least, so that opening a file is not what it mostly does.
const FRAMES_A_PART: u64 = 8;

/// The result file.
#[derive(Serialize, Deserialize)]
struct Document {
    width: u32,
    height: u32,
    fps: f64,
    model: String,
    frames: Vec<FrameDetections>,
}

impl Detection {
    /// Plans the export; `sources` holds its one video.
    pub fn new(spec: &DetectionSpec, sources: Vec<Source>) -> Result<Self, Vec<FieldError>> {
        let source = super::only(sources)?;
        let frames = spec.frames(&source.facts);
        let groups: Vec<usize> = frames.iter().map(|&frame| source.index.group_of(frame)).collect();
        Ok(Self { source, frames, segments: parts(&groups), confidence: spec.confidence as f32 })
    }

    /// The source frames of one part.
    fn frames_of(&self, segment: &SegmentPlan) -> &[usize] {
        &self.frames[segment.first_frame as usize..(segment.first_frame + segment.frames) as usize]
    }

    fn walk(
        &self,
        run: &RenderContext,
        segment: &SegmentPlan,
        found: &SyncSender<(usize, Pending)>,
    ) -> Result<(), RenderError> {
        let facts = &self.source.facts;
        let whole = CropRect { x: 0.0, y: 0.0, width: f64::from(facts.width), height: f64::from(facts.height) };
        let mut cropper = Cropper::new();
        let mut decoder = run.decoder(&self.source, 1)?;
        for &frame in self.frames_of(segment) {
            let picture = run.counters.time(Stage::Decode, || decoder.frame(frame))?;
            let image =
                run.counters.time(Stage::Transform, || cropper.rgb(&picture, &whole, 0.0, facts.width, facts.height));
            let answer = run.submit(TaskKind::Detect, Arc::new(image))?;
            if found.send((frame, answer)).is_err() {
                return Ok(());
            }
        }
        run.counters.concealed(decoder.warnings());
        Ok(())
    }
}

impl Render for Detection {
    fn segments(&self) -> Vec<SegmentPlan> {
        self.segments.clone()
    }

    fn frames(&self) -> u64 {
        self.frames.len() as u64
    }

    fn workload(&self) -> Workload {
        Workload { detections: self.frames.len() as u64, ..Workload::default() }
    }

    fn detected(&self, _: ExportId) -> Option<Detected> {
        let SourceFacts { width, height, .. } = self.source.facts;
        Some(Detected { subject: self.source.subject, width, height })
    }

    fn render_segment(
        &self,
        run: &RenderContext,
        segment: &SegmentPlan,
        out: &Path,
    ) -> Result<RenderedSegment, RenderError> {
        let facts = &self.source.facts;
        let model = run.profile.detect.as_ref().map(|profile| profile.model.clone()).unwrap_or_default();
        let (sender, answers) = sync_channel(run.window);
        let mut done = RenderedSegment::default();
        let walked = thread::scope(|scope| {
            let walker = thread::Builder::new()
                .name(format!("decode-{}", segment.index))
                .spawn_scoped(scope, move || self.walk(run, segment, &sender))
                .map_err(|source| RenderError::Io { doing: "starting a decode thread".into(), source })?;
            for (frame, answer) in answers {
                let Output::Boxes(boxes) = run.answer(answer)? else {
                    return Err(RenderError::Broken("a detector answered with a picture".into()));
                };
                let time = edits::rational::to_f64(facts.frames.seconds(frame));
                done.detections.push(FrameDetections { time, frame: frame as u64, boxes });
                run.counters.frame_done();
            }
            walker.join().unwrap_or_else(|_| Err(RenderError::Broken("the decode thread panicked".into())))
        });
        walked?;
        let mut frames = done.detections.clone();
        for frame in &mut frames {
            frame.boxes.retain(|found| found.confidence >= self.confidence);
        }
        let (width, height, fps) = (facts.width, facts.height, facts.rate.as_f64());
        write_document(out, &Document { width, height, fps, model, frames })?;
        done.frames = done.detections.len() as u64;
        done.frames_inferred = done.frames;
        Ok(done)
    }

    fn join(
        &self,
        _: &RenderContext,
        segments: &[PathBuf],
        _: Option<&Path>,
        out: &Path,
    ) -> Result<Joined, RenderError> {
        let mut parts = segments.iter().map(|path| read_document(path));
        let Some(mut whole) = parts.next().transpose()? else {
            return Err(RenderError::Broken("the detection has no part".into()));
        };
        for part in parts {
            whole.frames.extend(part?.frames);
        }
        write_document(out, &whole)?;
        let seconds = whole.frames.last().map_or(0.0, |frame| frame.time);
        Ok(Joined { frames: whole.frames.len() as u64, seconds })
    }
}

/// Cuts a list of frames, given by their groups of pictures, where a new group begins and a part is long enough.
fn parts(groups: &[usize]) -> Vec<SegmentPlan> {
    let mut parts: Vec<SegmentPlan> = Vec::new();
    for (n, group) in groups.iter().enumerate() {
        match parts.last_mut() {
            Some(part) if part.frames < FRAMES_A_PART || groups[n - 1] == *group => part.frames += 1,
            _ => parts.push(SegmentPlan { index: parts.len() as u32, first_frame: n as u64, frames: 1 }),
        }
    }
    parts
}

fn read_document(path: &Path) -> Result<Document, RenderError> {
    let file =
        File::open(path).map_err(|source| RenderError::Io { doing: format!("reading {}", path.display()), source })?;
    serde_json::from_reader(BufReader::new(file))
        .map_err(|error| RenderError::Broken(format!("a stored part does not parse: {error}")))
}

fn write_document(out: &Path, document: &Document) -> Result<(), RenderError> {
    let write = || -> std::io::Result<()> {
        let mut file = BufWriter::new(File::create(out)?);
        serde_json::to_writer_pretty(&mut file, document)?;
        file.flush()
    };
    write().map_err(|source| {
        // A half-written file is of no use; the error that matters is the first one.
        let _ = fs::remove_file(out);
        RenderError::Io { doing: format!("writing {}", out.display()), source }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_never_share_a_group_of_pictures() {
        // Three frames of one group, ten of the next, then one each.
        let groups: Vec<usize> = [vec![0; 3], vec![1; 10], (2..12).collect()].concat();
        let parts = parts(&groups);
        let shape: Vec<_> = parts.iter().map(|part| (part.index, part.first_frame, part.frames)).collect();
        assert_eq!(shape, [(0, 0, 13), (1, 13, 8), (2, 21, 2)]);
    }
}
