//! Faults on purpose: named points in an export's life at which a test lets the process die, the disk fill up or a
//! device err. Configured by the environment variable `FAILPOINTS` (see the `fail` crate), and only where the process
//! was asked to look at it ([`arm`]); unset, a point costs a look into an empty table.
//!
//! `FAILPOINTS="segment-stored=1*off->return(crash)"` kills the process the second time a segment was stored.

use std::io;

use fail::{FailScenario, fail_point};

/// A moment at which something durable was, or is about to be, done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A segment's file is finished in the work folder.
    SegmentRendered,
    /// A segment's file is in storage, its row is not committed.
    SegmentStored,
    /// A segment's row is committed.
    SegmentCommitted,
}

impl Point {
    /// Every point, in the order in which an export passes them.
    pub const ALL: [Self; 3] = [Self::SegmentRendered, Self::SegmentStored, Self::SegmentCommitted];

    /// The point's name in `FAILPOINTS`.
    pub fn name(self) -> &'static str {
        match self {
            Self::SegmentRendered => "segment-rendered",
            Self::SegmentStored => "segment-stored",
            Self::SegmentCommitted => "segment-committed",
        }
    }
}

/// Reads `FAILPOINTS` for the rest of the process's life. Does nothing where it is unset.
pub fn arm() {
    if std::env::var_os("FAILPOINTS").is_some() {
        tracing::warn!("FAILPOINTS is set: this process fails on purpose");
        // Dropped, it would disarm every point.
        std::mem::forget(FailScenario::setup());
    }
}

/// Marks that the process is at `point`. Actions: `return(crash)` ends the process as a kill would, `return(full)`
/// fails as a full disk does, `return(broken)` as an unreadable one.
///
/// # Errors
/// Only what was asked for.
pub fn at(point: Point) -> io::Result<()> {
    fail_point!(point.name(), |action| act(point, action.as_deref()));
    Ok(())
}

fn act(point: Point, action: Option<&str>) -> io::Result<()> {
    match action {
        Some("full") => Err(io::Error::from(io::ErrorKind::StorageFull)),
        Some("broken") => Err(io::Error::other(format!("a fault on purpose at {}", point.name()))),
        _ => std::process::abort(),
    }
}
