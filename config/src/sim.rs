//! How simulated devices behave: their speed, and what goes wrong with them on purpose.

use serde::{Deserialize, Serialize};

use crate::{DeviceList, DeviceName, Invalid};

/// An entry of `[[devices.sim]]`: how one simulated device differs from the others.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SimSettings {
    /// Which one: `sim:N`.
    pub device: DeviceName,
    /// Its speed; at 0.5 a frame takes twice `devices.sim_frame_ms`.
    #[serde(default = "one")]
    pub speed: f64,
    /// What goes wrong.
    #[serde(default)]
    pub fault: Option<SimFault>,
    /// Batches that are served well before.
    #[serde(default)]
    pub after: u64,
    /// Batches, and canaries of new workers, that go wrong; without it all from then on.
    #[serde(default)]
    pub times: Option<u64>,
}

/// What a simulated device does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SimFault {
    /// The call fails.
    Error,
    /// The call never returns.
    Hang,
    /// The call returns pictures of another size, or pictures where boxes were asked for.
    Garbage,
    /// The call takes ten times as long.
    Slow,
    /// The call panics.
    Panic,
    /// The process of the device exits.
    Exit,
    /// The process takes memory until it is refused more.
    Grow,
}

fn one() -> f64 {
    1.0
}

/// What is wrong with the entries of `devices.sim`, on a node with the devices of `list`.
pub(crate) fn check(entries: &[SimSettings], list: &DeviceList) -> Vec<Invalid> {
    let mut found = Vec::new();
    for (n, entry) in entries.iter().enumerate() {
        let mut want = |right: bool, key: &str, message: &str| {
            if !right {
                found.push(Invalid::new(format!("/devices/sim/{n}/{key}"), message));
            }
        };
        let named = matches!(list, DeviceList::Named(names) if names.contains(&entry.device));
        let simulated = matches!(entry.device, DeviceName::Sim(_));
        want(simulated && named, "device", "must be a sim:N of devices.list");
        let first = entries.iter().position(|other| other.device == entry.device) == Some(n);
        want(first, "device", "has an entry already");
        want((0.001..=1000.0).contains(&entry.speed), "speed", "must be 0.001 to 1000");
    }
    found
}
