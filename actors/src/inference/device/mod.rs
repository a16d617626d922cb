//! Devices: which there are, and how each is kept at work.
//!
//! In reading order:
//!
//! * [`list`]: what `auto` stands for. [`engine`]: what serves a batch, loaded models; [`sim`]: a wait instead.
//! * [`worker`]: the thread that owns an engine; [`validate`]: whether its output can be right.
//! * [`health`]: what faults, missing results and operators make of a device.
//! * [`supervisor`]: the actor that owns one device; [`prefetch`]: when it takes the next batch.
//! * [`state`]: what it shows of itself; [`utilization`]: its utilization over the last minute.

mod engine;
mod health;
mod list;
mod prefetch;
mod sim;
mod state;
mod supervisor;
mod utilization;
mod validate;
mod worker;

pub use engine::{Engine, EngineFactory, EngineFault, ModelEngine, WorkerProcess};
pub use health::DeviceHealth;
pub use list::auto;
pub use sim::{SimDevice, SimEngine};
pub use state::DeviceState;
pub(crate) use state::describe;
pub use supervisor::{DeviceSetup, DeviceSupervisor, Load, Operate, Operation};
pub use validate::{MOST_BOXES, MOST_LABEL_BYTES};
