//! A render process's side: takes one task, does it, answers.

use std::borrow::Cow;
use std::cell::Cell;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use edits::{CropRect, RgbImage};
use media::{Cropper, FrameDecoder, FrameIndex, MediaError};
use sandbox::Channel;

use super::child_port::{BEAT_EVERY, Port};
use super::child_render;
use super::log::Forward;
use super::message::{Answer, Message, Order};
use super::task::{PictureTask, Task};
use super::{DEVICE_ARGUMENT, TEMPLATE_ARGUMENT, device_child};
use crate::failpoints;
use crate::render::RenderError;

/// A person waits for a single picture: frames of its group of pictures may be decoded side by side.
const MOST_DECODE_THREADS: usize = 4;

/// Serves as the template of render or device processes, where the program's arguments ask for that: the first thing in
/// `main`, before the program has a second thread. None: they ask for something else.
pub fn serve_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let argument = arguments.next().filter(|argument| [TEMPLATE_ARGUMENT, DEVICE_ARGUMENT].contains(&&**argument))?;
    let Some(owner) = arguments.next().and_then(|owner| owner.parse().ok()) else {
        eprintln!("{argument} is started by the server itself");
        return Some(ExitCode::FAILURE);
    };
    if argument == DEVICE_ARGUMENT {
        return Some(sandbox::serve(owner, device_child::run));
    }
    failpoints::arm();
    // Once, so that no task pays for it, and the fonts because a task can open no file of theirs.
    media::init();
    media::load_fonts();
    Some(sandbox::serve(owner, run))
}

/// Does the one task of this process.
fn run(given: sandbox::Task) {
    let sandbox::Task { channel, exchange, files_confined } = given;
    let port = Port { channel: Arc::new(channel), exchange: Arc::new(exchange) };
    let channel = Arc::clone(&port.channel);
    let Ok(Some(Order { task, log, trace })) = channel.receive::<Order>() else { return };
    // One subscriber a process, and this one has had none.
    let _ = tracing::subscriber::set_global_default(Forward::of_task(Arc::clone(&channel), log, trace));
    failpoints::in_task(task.name());
    let done = perform(task, &port, files_confined);
    let message = Message::Done(done);
    let attached = if let Message::Done(Ok(answer)) = &message { answer.attached() } else { Cow::default() };
    // An owner that is gone waits for nothing.
    let _ = channel.send_with(&message, &attached);
}

fn perform(task: Task, port: &Port, files_confined: bool) -> Result<Answer, RenderError> {
    let channel = &*port.channel;
    match task {
        Task::Check => Ok(Answer::Confined { files: files_confined }),
        Task::Inspect { path } => Ok(facts(&media::probe(&path)?)?),
        Task::Scan { path } => Ok(facts(&media::scan_unless(&path, &beats(channel))?)?),
        Task::Index { path, around } => {
            let index = match around {
                Some((start, end)) => {
                    // Its tables are read and thrown away; nothing is decoded.
                    media::map_large_blocks();
                    media::build_index_around(&path, start, end)?
                }
                None => media::build_index_unless(&path, &beats(channel))?,
            };
            Ok(Answer::Index(index.to_bytes()))
        }
        Task::Picture(task) => {
            let picture = picture(&task)?;
            if task.jpeg {
                return Ok(media::jpeg(&picture).map(Answer::Jpeg)?);
            }
            let written = port.exchange.write(0, &picture.data);
            written.map_err(|source| RenderError::Io { doing: "passing on a picture".into(), source })?;
            Ok(Answer::Picture)
        }
        Task::Prepare { work } => child_render::prepare(&work, port).map(Answer::Prepared),
        Task::Segment { work, segment, out } => child_render::segment(&work, port, &segment, &out.file),
        Task::Audio { work, out } => child_render::audio(&work, port, &out.file),
        Task::Join { work, segments, audio, out, .. } => {
            child_render::join(&work, port, &segments, audio.as_deref(), &out.file)
        }
    }
}

/// To be called at every packet and frame; tells the owner now and then that the work advances. It never asks for a stop:
/// an owner that wants one kills.
fn beats(channel: &Channel) -> impl Fn() -> bool {
    let last = Cell::new(Instant::now());
    move || {
        if last.get().elapsed() >= BEAT_EVERY {
            last.set(Instant::now());
            // An owner that is gone takes this process along.
            let _ = channel.send(&Message::Beat);
        }
        false
    }
}

fn facts(found: &impl serde::Serialize) -> Result<Answer, MediaError> {
    let json = serde_json::to_string(found);
    let failed = |error: serde_json::Error| MediaError::Codec { doing: "describing".into(), detail: error.to_string() };
    json.map(Answer::Facts).map_err(failed)
}

fn picture(task: &PictureTask) -> Result<RgbImage, MediaError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_DECODE_THREADS);
    let index = Arc::new(FrameIndex::from_bytes(&task.index)?);
    let mut decoder = FrameDecoder::open(&task.path, index, threads)?;
    let (width, height) = task.source_size;
    let whole = CropRect { x: 0.0, y: 0.0, width: f64::from(width), height: f64::from(height) };
    let picture = decoder.frame(task.frame as usize)?;
    Ok(Cropper::new().rgb(&picture, &whole, 0.0, task.size.0, task.size.1))
}
