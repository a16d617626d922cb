//! Confined child processes for work on bytes that a stranger sent.
//!
//! A [`Template`] is this program, started once with a subcommand of its own. It has one thread and has loaded its
//! libraries; for each task it forks a child, which confines itself before it reads a byte: what it may open
//! ([`access`]), which system calls it may make ([`syscalls`]), how much it may use ([`limits`]). Forking a small process
//! takes 1 to 3 ms, starting the program anew some 50 ms, most of them for its shared libraries.
//!
//! A [`Process`] is the task as its owner sees it: a [`Channel`] for messages, an [`Exchange`] for pictures, a descriptor
//! to kill it by, and how it ended. It dies with its owner: the kernel kills the template with the process that started
//! it, and the children with the template.
//!
//! This crate knows processes; it is independent of media, tenants and actors.

mod access;
mod channel;
mod descriptors;
mod exchange;
mod exit;
mod fault;
mod limits;
mod process;
mod syscalls;
mod template;

pub use access::Access;
pub use channel::{Bounds, Channel};
pub use exchange::Exchange;
pub use exit::{Ended, Exit, NOT_CONFINED};
pub use fault::Fault;
pub use limits::Limits;
pub use process::{Killer, Process, SpawnError, Template};
pub use template::{Confinement, Task, serve};
