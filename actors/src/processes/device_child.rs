//! A device process's side: loads the models of one device, then serves the batches that its owner sends, one at a time. Or
//! it measures a model, and ends.

use std::path::Path;
use std::sync::Arc;

use edits::RgbImage;
use models::ModelStore;
use sandbox::Exchange;

use super::device_message::{BatchOrder, DeviceMessage, Opening, Purpose};
use super::log::Forward;
use super::message::Worked;
use crate::inference::device::{ModelEngine, SimEngine};
use crate::inference::queue::{Output, Task};

enum Engine {
    Models(ModelEngine),
    Sim(SimEngine),
}

/// Serves until the owner is gone.
pub(super) fn run(given: sandbox::Task) {
    let channel = Arc::new(given.channel);
    let Ok(Some(Opening { purpose, log })) = channel.receive() else { return };
    // One subscriber a process, and this one has had none.
    let _ = tracing::subscriber::set_global_default(Forward::of_device(Arc::clone(&channel), log));
    let (mut engine, opened) = match open(&purpose) {
        Ok(engine) => (engine, Ok(())),
        Err(reason) => (None, Err(reason)),
    };
    // An owner that is gone waits for nothing; then the next message does not come.
    let _ = channel.send(&DeviceMessage::Opened(opened));
    while let (Some(engine), Ok(Some(batch))) = (&mut engine, channel.receive::<BatchOrder>()) {
        let served = serve(engine, &batch, &given.exchange);
        let _ = channel.send(&DeviceMessage::Served(served));
    }
}

/// The engine that is to serve; None where there is nothing more to do.
fn open(purpose: &str) -> Result<Option<Engine>, String> {
    let store = |weights: &Path| ModelStore::open(weights).map_err(|error| error.to_string());
    match serde_json::from_str(purpose).map_err(|error| error.to_string())? {
        Purpose::Models { weights, device, warm } => {
            ModelEngine::load(store(&weights)?, device, &warm).map(|engine| Some(Engine::Models(engine)))
        }
        Purpose::Sim { per_frame, canary } => {
            SimEngine::load(per_frame, canary).map(|engine| Some(Engine::Sim(engine)))
        }
        Purpose::Measure { weights, device, model, keep_dir } => {
            let chosen = models::choose_profile(&store(&weights)?, &model, &device, &keep_dir);
            chosen.map(|_| None).map_err(|error| error.to_string())
        }
    }
}

fn serve(engine: &mut Engine, order: &BatchOrder, exchange: &Exchange) -> Result<Vec<Worked>, String> {
    let BatchOrder { kind, ref profile, width, height, count, fault } = *order;
    let profile = serde_json::from_str(profile).map_err(|error| error.to_string())?;
    let task = Task { kind, profile: Arc::new(profile) };
    let mut images: Vec<_> = (0..count).map(|_| RgbImage::new(width, height)).collect();
    let mut offset = 0;
    for image in &mut images {
        exchange.read(offset, &mut image.data).map_err(|error| error.to_string())?;
        offset += image.data.len() as u64;
    }
    let images: Vec<_> = images.iter().collect();
    let outputs = match engine {
        Engine::Models(engine) => engine.run(&task, &images)?,
        Engine::Sim(engine) => engine.run(&task, &images, fault)?,
    };
    let mut offset = 0;
    let place = |output| match output {
        Output::Boxes(boxes) => Ok(Worked::Boxes(boxes)),
        Output::Image(RgbImage { width, height, data }) => {
            exchange.write(offset, &data).map_err(|error| error.to_string())?;
            offset += data.len() as u64;
            Ok(Worked::Image { width, height })
        }
    };
    outputs.into_iter().map(place).collect()
}
