//! Specs and plans through the public surface of the crate.

mod annotated;
mod common;
mod crop;
mod overlay;
mod parse;
mod parse_kinds;
mod plan;
mod transitions;
