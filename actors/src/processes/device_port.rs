//! This node's side of the devices of one render process: takes its pictures from the exchange to the queue, and the
//! answers back.
//!
//! Two threads, because both may have to wait: one while the tenant's share of the queue is full, one for the devices.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use edits::RgbImage;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::message::{Reply, Submission, Worked};
use super::owner::Started;
use super::rendering::Rendering;
use super::task::Slots;
use crate::inference::client::{InferenceError, Submitted};
use crate::inference::profile::ModelProfile;
use crate::inference::queue::{Output, PushError, Served, TaskKind};

/// What the devices did for one task.
#[derive(Debug, Default)]
pub struct DeviceTimes {
    pub frames: u64,
    pub device_seconds: f64,
    /// Frames and device seconds, by device.
    pub devices: BTreeMap<Arc<str>, (u64, f64)>,
}

impl DeviceTimes {
    fn served(&mut self, served: &Served) {
        self.frames += 1;
        self.device_seconds += served.device_seconds;
        let (frames, seconds) = self.devices.entry(Arc::clone(&served.device)).or_default();
        *frames += 1;
        *seconds += served.device_seconds;
    }
}

/// See the [module](self).
pub(super) struct DevicePort {
    shared: Arc<Shared>,
    submissions: Option<Sender<Submission>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    rendering: Arc<Rendering>,
    started: Started,
    slots: Slots,
    /// The slots whose pictures are with the devices.
    busy: Vec<AtomicBool>,
    /// The task is over.
    over: AtomicBool,
    times: Mutex<DeviceTimes>,
}

impl DevicePort {
    /// Starts the threads; the answers are awaited on `runtime`.
    pub fn start(rendering: Arc<Rendering>, started: Started, slots: Slots, runtime: &Handle) -> std::io::Result<Self> {
        let busy = (0..slots.count).map(|_| AtomicBool::new(false)).collect();
        let shared = Shared { rendering, started, slots, busy, over: AtomicBool::new(false), times: Mutex::default() };
        let shared = Arc::new(shared);
        let (submissions, received) = channel::<Submission>();
        let (submitted, to_answer) = unbounded_channel();
        let mut port = Self { shared: Arc::clone(&shared), submissions: Some(submissions), threads: Vec::new() };
        let spawn =
            |name: &str, work: Box<dyn FnOnce() + Send>| thread::Builder::new().name(name.to_owned()).spawn(work);
        let (pushing, answering, runtime) = (Arc::clone(&shared), shared, runtime.clone());
        let push = move || received.into_iter().take_while(|one| pushing.submit(*one, &submitted)).for_each(drop);
        port.threads.push(spawn("submit", Box::new(push))?);
        let answer = move || runtime.block_on(answering.answer_all(to_answer));
        port.threads.push(spawn("answer", Box::new(answer))?);
        Ok(port)
    }

    /// Takes the picture in a slot. False: there can be none.
    pub fn take(&self, submission: Submission) -> bool {
        let Submission { slot, kind, width, height } = submission;
        let shared = &self.shared;
        let free = shared.busy.get(slot as usize).is_some_and(|busy| !busy.swap(true, Relaxed));
        if !free || !shared.slots.have_room(width, height) || shared.profile(kind).is_none() {
            return false;
        }
        shared.started.signs.with_devices.fetch_add(1, Relaxed);
        // A thread that has ended has stopped the process.
        self.submissions.as_ref().is_some_and(|submissions| submissions.send(submission).is_ok())
    }

    /// What the devices did.
    pub fn end(self) -> DeviceTimes {
        let shared = Arc::clone(&self.shared);
        drop(self);
        std::mem::take(&mut *shared.times.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for DevicePort {
    fn drop(&mut self) {
        // First, so that no thread waits for a process that does not read.
        self.shared.started.process.killer().kill();
        self.shared.over.store(true, Relaxed);
        self.submissions = None;
        for thread in self.threads.drain(..) {
            // A panic there was reported by its hook.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn profile(&self, kind: TaskKind) -> Option<&Arc<ModelProfile>> {
        match kind {
            TaskKind::Upscale => self.rendering.profile.upscale.as_ref(),
            TaskKind::Detect => self.rendering.profile.detect.as_ref(),
        }
    }

    /// Submits the picture in a slot; blocks while the tenant's share of the queue is full. False: the task is over.
    fn submit(&self, submission: Submission, submitted: &UnboundedSender<(u32, Submitted)>) -> bool {
        let Submission { slot, kind, width, height } = submission;
        let Some(profile) = self.profile(kind) else { return false };
        let mut image = RgbImage::new(width, height);
        if let Err(error) = self.started.process.exchange.read(self.slots.offset(slot), &mut image.data) {
            tracing::error!(%error, "a picture could not be read from the exchange");
            self.started.process.killer().kill();
            return false;
        }
        let Rendering { tenant, export, inference, stop, .. } = &*self.rendering;
        let cancelled = || self.over.load(Relaxed) || self.started.ender.has_ended() || stop.is_raised();
        match inference.submit((*tenant, *export), kind, profile, Arc::new(image), &cancelled) {
            Ok(picture) => submitted.send((slot, picture)).is_ok(),
            Err(PushError::Closed) => {
                self.started.ender.stop();
                false
            }
            // By who ended the task, whose reason is noted already; a task that crashed has none.
            Err(PushError::Cancelled) => false,
        }
    }

    /// Awaits answers and passes them on, until no more pictures come.
    async fn answer_all(&self, mut submitted: UnboundedReceiver<(u32, Submitted)>) {
        let mut waiting = FuturesUnordered::new();
        loop {
            tokio::select! {
                picture = submitted.recv() => match picture {
                    Some((slot, picture)) => waiting.push(async move { (slot, self.rendering.inference.answer(picture).await) }),
                    // The task is over: what is still with the devices is not wanted.
                    None => return,
                },
                Some((slot, answer)) = waiting.next() => self.pass_on(slot, answer),
            }
        }
    }

    /// Writes a picture into a slot.
    fn place(&self, slot: u32, image: &RgbImage) -> io::Result<Worked> {
        let (width, height) = (image.width, image.height);
        if !self.slots.have_room(width, height) {
            return Err(io::Error::other(format!("a picture of {width}x{height} has no room in its slot")));
        }
        self.started.process.exchange.write(self.slots.offset(slot), &image.data)?;
        Ok(Worked::Image { width, height })
    }

    /// Passes an answer on. Blocks while the process does not read.
    fn pass_on(&self, slot: u32, answer: Result<Served, InferenceError>) {
        self.started.signs.with_devices.fetch_sub(1, Relaxed);
        let answer = match answer {
            Ok(served) => {
                self.rendering.meter.served(&served);
                self.times.lock().unwrap_or_else(PoisonError::into_inner).served(&served);
                let worked = match served.output {
                    Output::Boxes(boxes) => Ok(Worked::Boxes(boxes)),
                    Output::Image(image) => self.place(slot, &image),
                };
                match worked {
                    Ok(worked) => Ok(worked),
                    Err(error) => {
                        tracing::error!(%error, "an answer could not be written into the exchange");
                        return self.started.process.killer().kill();
                    }
                }
            }
            Err(InferenceError::Device(fault)) => Err(fault),
            Err(InferenceError::Stopping) => return self.started.ender.stop(),
        };
        if let Some(busy) = self.busy.get(slot as usize) {
            busy.store(false, Relaxed);
        }
        if self.started.process.channel.send(&Reply { slot, answer }).is_err() {
            // It is gone, or does not read: others wait behind this answer.
            self.started.process.killer().kill();
        }
    }
}
