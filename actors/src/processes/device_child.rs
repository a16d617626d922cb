//! A device process's side: loads the models of one device, then serves the batches that its owner sends, one at a time.

use std::sync::Arc;

use edits::RgbImage;
use models::ModelStore;
use sandbox::Exchange;

use super::device_message::{BatchOrder, DeviceMessage, EngineOrder, Opening};
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
    let Ok(Some(Opening { engine, log })) = channel.receive() else { return };
    // One subscriber a process, and this one has had none.
    let _ = tracing::subscriber::set_global_default(Forward::of_device(Arc::clone(&channel), log));
    let (mut engine, loaded) = match load(&engine) {
        Ok(engine) => (Some(engine), Ok(())),
        Err(reason) => (None, Err(reason)),
    };
    // An owner that is gone waits for nothing; then the next message does not come.
    let _ = channel.send(&DeviceMessage::Loaded(loaded));
    while let (Some(engine), Ok(Some(batch))) = (&mut engine, channel.receive::<BatchOrder>()) {
        let served = serve(engine, &batch, &given.exchange);
        let _ = channel.send(&DeviceMessage::Served(served));
    }
}

fn load(order: &str) -> Result<Engine, String> {
    match serde_json::from_str(order).map_err(|error| error.to_string())? {
        EngineOrder::Models { weights, device, warm } => {
            let store = ModelStore::open(&weights).map_err(|error| error.to_string())?;
            ModelEngine::load(store, device, &warm).map(Engine::Models)
        }
        EngineOrder::Sim { per_frame, canary } => SimEngine::load(per_frame, canary).map(Engine::Sim),
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
