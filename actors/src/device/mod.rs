//! Devices: which there are, and how each is kept at work.
//!
//! In reading order:
//!
//! * [`list`]: what `auto` stands for. [`engine`]: what serves a batch, loaded models; [`sim`]: a wait instead.
//! * [`worker`]: the thread that owns an engine; [`answers`]: whether what it returns can be right.
//! * [`health`]: what faults, missing results and operators make of a device.
//! * [`supervisor`]: the actor that owns one device; [`pace`]: when it takes the next batch.
//! * [`state`]: what it shows of itself; [`busy`]: how busy it was lately.

mod answers;
mod busy;
mod engine;
mod health;
mod list;
mod pace;
mod sim;
mod state;
mod supervisor;
mod worker;

pub use engine::{Engine, EngineFactory, ModelEngine};
pub use health::DeviceHealth;
pub use list::auto;
pub use sim::{SimDevice, SimEngine};
pub use state::DeviceState;
pub(crate) use state::describe;
pub use supervisor::{DeviceSetup, DeviceSupervisor, Load, Operate, Operation};
