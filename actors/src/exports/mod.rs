//! Exports: from a request to a published file.
//!
//! In reading order:
//!
//! * [`request`]: validates a request and writes the export with its first job; [`references`]: copies in the reels and
//!   clips that it names; [`estimate`]: what it will take.
//! * [`dispatcher`]: claims jobs for this node's free slots and stops them.
//! * [`coordinator`]: the state machine of one running export; [`run`]: its plan and counters, shared with
//!   [`segment_job`], which renders, stores and commits one segment or the sound.
//! * [`retry`]: another attempt; [`failure`]: why an export failed; [`report`]: what a finished one took.

pub mod coordinator;
pub mod dispatcher;
pub mod estimate;
pub mod failure;
pub mod references;
pub mod report;
pub mod request;
pub mod retry;
pub mod run;
pub mod segment_job;
