//! Inference: where frames wait for a device, and the devices that serve them.
//!
//! * [`client`]: how a picture is submitted and its answer accounted for.
//! * [`queue`]: the frame queue, ordered by fair share over tenants.
//! * [`device`]: one supervisor actor a device, which owns its loaded models.
//! * [`profile`]: the numeric profile of an export. [`cost_model`]: device seconds that a frame is expected to take.

pub mod client;
pub mod cost_model;
pub mod device;
pub mod profile;
pub mod queue;
