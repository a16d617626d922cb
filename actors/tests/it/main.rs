//! Device supervisors and whole exports through the public surface of the crate.

mod device_faults;
mod exports;
