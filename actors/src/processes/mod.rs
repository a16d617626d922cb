//! Render processes: everything that reads a file a tenant sent runs in a process of its own, for one task. Device
//! processes: the models of each device are in one of its own.
//!
//! * [`task`]: what can be asked of one; `message`: what it and its owner say to each other.
//! * [`child`]: its side: does the task, confined (see the crate `sandbox`); `child_render` plans an export again and
//!   does a task of it, `child_devices` sends its pictures to the devices, `child_port` is what they have of the owner.
//! * [`owner`]: this node's side: starts one for each task, reports how it ended; [`renders`] has the tasks of exports, of
//!   which it knows what [`rendering`] has;
//!   `device_port` takes their pictures to the queue and the answers back, `watch` kills what does not advance or is not
//!   wanted any more ([`stop`]).
//! * [`devices`]: this node's side of device processes: the engine of a device's worker, which has its process load the
//!   models and serve the batches; [`measuring`]: numeric profiles, measured in a device process; `device_child`: that
//!   process's side; `device_message`: what both say to each other.
//! * [`log`] and `trace`: what is logged and traced in a process arrives here; `kept_template`: what processes are forked
//!   from.
//!
//! The server's own process opens none of these files. A decoder that crashes, hangs, or asks for more memory than
//! `processes.memory_mb` ends its own task; no other tenant notices. It serves no frame either: a driver that hangs or
//! loses its device costs one device process, whose memory is free with it.

pub mod child;
mod child_devices;
mod child_port;
mod child_render;
mod device_child;
mod device_message;
mod device_port;
pub mod devices;
pub mod error;
mod kept_template;
mod log;
pub mod measuring;
mod message;
pub mod owner;
pub mod rendering;
pub mod renders;
pub mod stop;
pub mod task;
mod trace;
mod watch;

/// The argument that makes the program a template of render processes. Every program that starts a node must pass its
/// arguments to [`child::serve_if_asked`] first.
pub const TEMPLATE_ARGUMENT: &str = "render-template";
/// The same for device processes.
pub const DEVICE_ARGUMENT: &str = "device-template";
