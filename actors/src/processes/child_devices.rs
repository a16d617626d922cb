//! A render process's side of the devices: pictures go to the owner by slots of the exchange, answers come back there.

use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use edits::RgbImage;

use super::child_port::Port;
use super::message::{Message, Reply, Submission, Worked};
use super::task::Slots;
use crate::inference::queue::{DeviceFault, Output, TaskKind};
use crate::render::{Devices, Pending, RenderError};

/// See the [module](self).
pub(super) struct RemoteDevices {
    port: Port,
    slots: Slots,
    state: Arc<State>,
}

struct State {
    open: Mutex<Open>,
    freed: Condvar,
}

struct Open {
    /// Slots without a picture, the one to be used next at the end: few slots in use take little memory.
    free: Vec<u32>,
    /// Where the answer for the picture in a slot goes.
    waiting: Vec<Option<SyncSender<Result<Output, DeviceFault>>>>,
}

impl RemoteDevices {
    /// Starts the thread that takes the answers. It ends with the process.
    pub fn start(port: &Port, slots: Slots) -> Result<Self, RenderError> {
        let open = Open { free: (0..slots.count).rev().collect(), waiting: (0..slots.count).map(|_| None).collect() };
        let state = Arc::new(State { open: Mutex::new(open), freed: Condvar::new() });
        let (taken, from) = (Arc::clone(&state), port.clone());
        let take = move || {
            while let Ok(Some(reply)) = from.channel.receive::<Reply>() {
                taken.take(reply, &from, slots);
            }
        };
        let started = thread::Builder::new().name("answers".into()).spawn(take);
        started.map_err(|source| RenderError::Io { doing: "starting a thread".into(), source })?;
        Ok(Self { port: port.clone(), slots, state })
    }
}

impl Devices for RemoteDevices {
    fn submit(&self, kind: TaskKind, image: Arc<RgbImage>) -> Result<Pending, RenderError> {
        let (width, height) = (image.width, image.height);
        if !self.slots.have_room(width, height) {
            return Err(RenderError::Broken(format!("a picture of {width}x{height} has no room in the exchange")));
        }
        let (sender, pending) = Pending::new();
        let slot = self.state.occupy(sender);
        let passing = |source| RenderError::Io { doing: "passing a picture to the devices".into(), source };
        self.port.exchange.write(self.slots.offset(slot), &image.data).map_err(passing)?;
        let submission = Submission { slot, kind, width, height };
        self.port.channel.send(&Message::Submit(submission)).map_err(passing)?;
        Ok(pending)
    }
}

impl State {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a free slot; blocks until there is one.
    fn occupy(&self, sender: SyncSender<Result<Output, DeviceFault>>) -> u32 {
        let mut open = self.open();
        loop {
            if let Some(slot) = open.free.pop() {
                open.waiting[slot as usize] = Some(sender);
                return slot;
            }
            open = self.freed.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Hands an answer to who waits for it. The picture is copied first, so that its slot is free whenever it is used.
    fn take(&self, Reply { slot, answer }: Reply, port: &Port, slots: Slots) {
        let answer = answer.and_then(|worked| match worked {
            Worked::Boxes(boxes) => Ok(Output::Boxes(boxes)),
            Worked::Image { width, height } => {
                let mut image = RgbImage::new(width, height);
                let read = port.exchange.read(slots.offset(slot), &mut image.data);
                let fault =
                    |error: std::io::Error| DeviceFault { device: "exchange".into(), reason: error.to_string() };
                read.map(|()| Output::Image(image)).map_err(fault)
            }
        });
        let mut open = self.open();
        let sender = open.waiting.get_mut(slot as usize).and_then(Option::take);
        open.free.push(slot);
        drop(open);
        self.freed.notify_one();
        if let Some(sender) = sender {
            // Who waited may have failed meanwhile.
            let _ = sender.send(answer);
        }
    }
}
