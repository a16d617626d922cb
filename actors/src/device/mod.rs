//! Devices: which there are, the actor that supervises one, the worker thread it owns, and what the worker runs.

mod engine;
mod list;
mod sim;
mod supervisor;
mod worker;

pub use engine::{Engine, EngineFactory, ModelEngine};
pub use list::auto;
pub use sim::{SimDevice, SimEngine};
pub use supervisor::{DeviceHealth, DeviceSetup, DeviceState, DeviceSupervisor, GetDevice};
