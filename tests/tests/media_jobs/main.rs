//! Renders and probes through the command line, which need no server.

mod command_line;
mod every_kind;
mod exactness;
mod fuzz;
mod inputs;
mod picture;
