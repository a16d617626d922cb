//! Fault injection: named points in the life of an export and of an upload at which a test lets the process crash or
//! the disk be full. Configured by the environment variable `FAILPOINTS` (see the `fail` crate), which only a process
//! that calls [`arm`] reads; unset, a point costs a lookup in an empty table.
//!
//! `FAILPOINTS="segment-stored=1*off->return(crash)"` kills the process the second time a segment was stored.

use std::io;

use fail::{FailScenario, fail_point};
use sandbox::Fault;

/// Declares the points: their names, and whether an error can be injected there beside a crash.
macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal, $writes:literal;)*) => {
        /// A moment at which something durable was, or is about to be, done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        impl Point {
            /// Every point, in the order in which they are passed.
            pub const ALL: &'static [Self] = &[$(Self::$point),*];

            /// The point's name in `FAILPOINTS`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }

            /// Whether something is about to be written: there the disk can be full. Elsewhere only a crash can be
            /// injected.
            pub fn writes(self) -> bool {
                match self {
                    $(Self::$point => $writes,)*
                }
            }
        }
    };
}

points! {
    /// An upload's row is about to be written.
    UploadBeginning = "upload-beginning", true;
    /// A piece is about to be made durable.
    PieceSyncing = "piece-syncing", true;
    /// A piece's bytes are durable, the offset is not.
    PieceSynced = "piece-synced", true;
    /// The offset is committed, the client has no answer.
    PieceAcknowledged = "piece-acknowledged", false;
    /// Every byte of an upload is on disk; it is no video yet.
    UploadWhole = "upload-whole", false;
    /// A video's file is in storage, its row is not committed.
    VideoStored = "video-stored", true;
    /// A video's row is committed, and its upload's gone.
    VideoCommitted = "video-committed", false;
    /// A video's frame index is built, not committed.
    VideoIndexed = "video-indexed", false;
    /// A video's frame index is committed.
    VideoReady = "video-ready", false;
    /// An export and its first job are written, not committed.
    ExportAccepting = "export-accepting", true;
    /// An export is committed, the client has no answer.
    ExportAccepted = "export-accepted", false;
    /// A job was claimed, nothing is done for it.
    JobClaimed = "job-claimed", false;
    /// An export was planned, its jobs are not committed.
    PartsPlanned = "parts-planned", true;
    /// An export's jobs are committed, its state is not.
    PartsEnqueued = "parts-enqueued", false;
    /// A segment is about to be rendered.
    SegmentBegun = "segment-begun", true;
    /// A segment's file is finished in the work folder.
    SegmentRendered = "segment-rendered", false;
    /// A segment's file is in storage, its row is not committed.
    SegmentStored = "segment-stored", true;
    /// A segment's row is committed.
    SegmentCommitted = "segment-committed", false;
    /// The sound is about to be rendered.
    AudioBegun = "audio-begun", true;
    /// The sound's file is in storage, its row is not committed.
    AudioStored = "audio-stored", true;
    /// The sound's row is committed.
    AudioCommitted = "audio-committed", false;
    /// A file is about to be renamed into storage.
    FileMoving = "file-moving", true;
    /// A file was renamed into storage, its name is not durable.
    FileMoved = "file-moved", true;
    /// An export's state went forward.
    StateAdvanced = "state-advanced", false;
    /// The parts are about to be joined.
    Joining = "joining", true;
    /// The result is whole in the work folder.
    Joined = "joined", false;
    /// The result is in storage, the export is not complete.
    ResultStored = "result-stored", true;
    /// The export is complete; its segments' files are still there.
    ExportFinished = "export-finished", false;
    /// The files of a complete export's segments are removed; its end is not published yet.
    SegmentsRemoved = "segments-removed", false;
    /// An end is about to be published to listeners.
    EndPublished = "end-published", false;
    /// A job's failure is committed.
    FailureRecorded = "failure-recorded", false;
    /// An export's failure is committed and not published yet.
    ExportFailed = "export-failed", false;
    /// A new attempt is committed, the client has no answer.
    ExportRetried = "export-retried", false;
    /// An export's cancellation is committed; its files are still there.
    ExportCancelled = "export-cancelled", false;
    /// An export's row is gone; its files are still there.
    ExportDeleted = "export-deleted", false;
    /// A video's row is gone; its file is still there.
    VideoDeleted = "video-deleted", false;
}

/// Reads `FAILPOINTS` for the rest of the process's life. Does nothing where it is unset.
pub fn arm() {
    if std::env::var_os("FAILPOINTS").is_some() {
        tracing::warn!("FAILPOINTS is set: this process fails on purpose");
        // Dropped, it would disarm every point.
        std::mem::forget(FailScenario::setup());
    }
}

/// Marks that the process is at `point`, where something is about to be written. Actions: `return(crash)` ends the
/// process as a kill would, `return(full)` fails as a full disk does, `return(broken)` as a broken one.
///
/// # Errors
/// Only the one that was injected.
pub fn at(point: Point) -> io::Result<()> {
    fail_point!(point.name(), |action| act(point, action.as_deref()));
    Ok(())
}

/// Marks that the process has come past `point`, where nothing is left to fail: every action is a crash.
pub fn passed(point: Point) {
    fail_point!(point.name(), |_| std::process::abort());
}

/// Marks that a render process begins a task. `FAILPOINTS="task-index=return(segfault)"` makes it misbehave as a decoder
/// may that was given a hostile file: see [`Fault`].
pub fn in_task(name: &str) {
    fail_point!(&format!("task-{name}"), |action| {
        let fault: Option<Fault> = action.as_deref().and_then(|action| action.parse().ok());
        fault.unwrap_or(Fault::Abort).happen();
    });
}

fn act(point: Point, action: Option<&str>) -> io::Result<()> {
    match action {
        Some("full") => Err(io::Error::from(io::ErrorKind::StorageFull)),
        Some("broken") => Err(io::Error::other(format!("a fault on purpose at {}", point.name()))),
        _ => std::process::abort(),
    }
}

/// Whether an error means that there is no room to write: the disk, or a quota of it, is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
