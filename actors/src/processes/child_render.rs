//! A render process's side of an export: plans it again, does one task of it, tells how far it is.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use edits::{ExportSpec, FrameRate, SourceFacts};
use media::FrameIndex;
use nix::sys::resource::{UsageWho, getrusage};
use sandbox::Channel;

use super::child_devices::RemoteDevices;
use super::child_port::{BEAT_EVERY, Port};
use super::message::{Answer, Message};
use super::task::{Slots, SourceFile, Work};
use crate::inference::profile::ExportProfile;
use crate::render::{
    self, Advance, Counters, Devices, NoDevices, Prepared, Render, RenderContext, RenderError, SegmentPlan, Source,
};

/// Reads what the segments depend on.
pub(super) fn prepare(work: &Work, port: &Port) -> Result<Prepared, RenderError> {
    let (kind, _) = plan(work)?;
    tell(port, Signs::Time)?;
    kind.prepare()
}

/// Renders a part into `out`.
pub(super) fn segment(work: &Work, port: &Port, segment: &SegmentPlan, out: &Path) -> Result<Answer, RenderError> {
    let (kind, run) = begin(work, port, work.slots, Signs::Steps)?;
    let rendered = kind.render_segment(&run, segment, out)?;
    Ok(Answer::Rendered(rendered, end(&run, port)))
}

/// Renders the sound into `out`.
pub(super) fn audio(work: &Work, port: &Port, out: &Path) -> Result<Answer, RenderError> {
    let (kind, run) = begin(work, port, Slots::default(), Signs::Steps)?;
    kind.render_audio(&run, out)?;
    Ok(Answer::Rendered(render::RenderedSegment::default(), end(&run, port)))
}

/// Joins the parts into `out`.
pub(super) fn join(
    work: &Work,
    port: &Port,
    segments: &[PathBuf],
    audio: Option<&Path>,
    out: &Path,
) -> Result<Answer, RenderError> {
    let (kind, run) = begin(work, port, Slots::default(), Signs::Time)?;
    let joined = kind.join(&run, segments, audio, out)?;
    Ok(Answer::Joined(joined, end(&run, port)))
}

/// Plans the export as its node has.
fn plan(work: &Work) -> Result<(Arc<dyn Render>, ExportProfile), RenderError> {
    let broken = |error: serde_json::Error| RenderError::Broken(format!("reading the order: {error}"));
    let spec: ExportSpec = serde_json::from_str(&work.spec).map_err(broken)?;
    let profile: ExportProfile = serde_json::from_str(&work.profile).map_err(broken)?;
    let files: Vec<Source> = work.files.iter().map(source).collect::<Result<_, _>>()?;
    let one = |number: &u32| files.get(*number as usize).cloned();
    let sources: Option<Vec<Source>> = work.sources.iter().map(one).collect();
    let sources = sources.ok_or_else(|| RenderError::Broken("a source has no file".into()))?;
    let kind = render::plan(&spec, sources, &profile, work.segment_seconds)
        .map_err(|errors| RenderError::Broken(render::sentence(&errors)))?;
    Ok((kind, profile))
}

fn source(file: &SourceFile) -> Result<Source, RenderError> {
    let index = Arc::new(FrameIndex::from_bytes(&file.index)?);
    let rate = FrameRate::new(file.rate.0, file.rate.1);
    let rate = rate.ok_or_else(|| RenderError::Broken("a source has no frame rate".into()))?;
    let ((width, height), frames) = (file.size, Arc::clone(&index.times));
    let facts = SourceFacts { width, height, rate, has_audio: file.has_audio, frames };
    Ok(Source { subject: file.subject, path: file.path.clone(), index, facts })
}

/// Plans the export and begins to tell how far this task is. Without slots it has no devices.
fn begin(
    work: &Work,
    port: &Port,
    slots: Slots,
    signs: Signs,
) -> Result<(Arc<dyn Render>, RenderContext), RenderError> {
    let (kind, profile) = plan(work)?;
    if kind.needs_preparation() {
        kind.adopt(&work.prepared)?;
    }
    let devices: Box<dyn Devices> = match slots.count {
        0 => Box::new(NoDevices),
        _ => Box::new(RemoteDevices::start(port, slots)?),
    };
    let counters = tell(port, signs)?;
    Ok((kind, RenderContext { profile, devices, window: work.window as usize, counters }))
}

/// By what a task shows that it advances.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signs {
    /// Its frames and packets.
    Steps,
    /// The time it computes as well, for one long step without any: joining checks every seam of a film by decoding, and
    /// preparing reads a whole file. A loop in it ends by the limit of that time.
    Time,
}

/// Begins to tell the owner how far this task is, by the counters that are returned.
fn tell(port: &Port, signs: Signs) -> Result<Arc<Counters>, RenderError> {
    let counters = Arc::new(Counters::default());
    let (counted, channel) = (Arc::clone(&counters), Arc::clone(&port.channel));
    let tell = move || tell_advances(&counted, &channel, signs);
    let started = thread::Builder::new().name("advance".into()).spawn(tell);
    started.map_err(|source| RenderError::Io { doing: "starting a thread".into(), source })?;
    Ok(counters)
}

/// Tells the owner how far the task is, as long as it advances. Ends with the process.
fn tell_advances(counters: &Counters, channel: &Channel, signs: Signs) {
    let state = || (counters.advance(), Usage::now(signs));
    let mut told = state();
    loop {
        thread::sleep(BEAT_EVERY);
        let now = state();
        // An owner that is gone takes this process along.
        if (now.0, now.1.work) != (told.0, told.1.work) && channel.send(&message(now.0, &now.1)).is_err() {
            return;
        }
        told = now;
    }
}

fn message(advance: Advance, usage: &Usage) -> Message {
    Message::Advance { advance, memory_bytes: usage.memory_bytes }
}

/// What this process has used so far.
#[derive(Default)]
struct Usage {
    /// Blocks read and written, and tenths of a second of computing where they count. Some work shows by nothing else: at
    /// the end of a file libav moves all of it without a word.
    work: (i64, i64, i64),
    /// Most resident memory.
    memory_bytes: u64,
}

impl Usage {
    fn now(signs: Signs) -> Self {
        let usage = getrusage(UsageWho::RUSAGE_SELF);
        // It fails for no process that asks about itself.
        usage.map_or_else(
            |_| Self::default(),
            |usage| Self {
                work: (usage.block_reads(), usage.block_writes(), computed(signs, &usage)),
                // In kibibytes.
                memory_bytes: u64::try_from(usage.max_rss()).unwrap_or(0) << 10,
            },
        )
    }
}

fn computed(signs: Signs, usage: &nix::sys::resource::Usage) -> i64 {
    let tenths = |time: nix::sys::time::TimeVal| time.tv_sec() * 10 + time.tv_usec() / 100_000;
    match signs {
        Signs::Steps => 0,
        Signs::Time => tenths(usage.user_time()) + tenths(usage.system_time()),
    }
}

/// The last word on how far the task is, before its answer, and what the user should know.
fn end(run: &RenderContext, port: &Port) -> render::Notes {
    // An owner that is gone waits for nothing.
    let _ = port.channel.send(&message(run.counters.advance(), &Usage::now(Signs::Steps)));
    run.counters.notes()
}
