//! Settings through the public surface of the crate.

mod live;
mod settings;
