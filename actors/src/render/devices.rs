//! What rendering needs of the devices: to send a picture, and to await its answer.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use edits::RgbImage;

use super::RenderError;
use crate::inference::queue::{DeviceFault, Output, TaskKind};

/// Where pictures go to be worked on.
pub trait Devices: Send + Sync {
    /// Sends a picture. Blocks while as many are under way as may be.
    ///
    /// # Errors
    /// When it is larger than was agreed.
    fn submit(&self, kind: TaskKind, image: Arc<RgbImage>) -> Result<Pending, RenderError>;
}

/// A picture on its way through the devices.
pub struct Pending(Receiver<Answer>);

/// What a device answers.
pub type Answer = Result<Output, DeviceFault>;

impl Pending {
    /// A picture on its way, and where its answer goes.
    pub fn new() -> (SyncSender<Answer>, Self) {
        let (sender, receiver) = sync_channel(1);
        (sender, Self(receiver))
    }

    /// Blocks until a device has answered.
    ///
    /// # Errors
    /// When every try failed.
    pub fn wait(self) -> Result<Output, RenderError> {
        let gone = |_| RenderError::Broken("the devices are gone".into());
        self.0.recv().map_err(gone)?.map_err(RenderError::Device)
    }
}

/// The devices of an export that was accepted without a model.
pub struct NoDevices;

impl Devices for NoDevices {
    fn submit(&self, _: TaskKind, _: Arc<RgbImage>) -> Result<Pending, RenderError> {
        Err(RenderError::Broken("the export was accepted without a model".into()))
    }
}
