//! Exports: from a request to a published file.
//!
//! In reading order:
//!
//! * [`service`]: what can be asked, for handlers and commands.
//! * [`request`]: validates a request and writes the export with its first job; [`references`] copies in the reels and
//!   clips that it names, [`models`] chooses the numeric profile, [`admission`] checks limits, [`estimate`] says what it
//!   will take.
//! * [`dispatcher`]: the actor that claims jobs; [`slots`]: which jobs this node holds and may claim.
//! * [`coordinator`]: the actor of one running export; [`coordinator_state`]: its state machine; [`steps`]: what it does.
//! * [`run`]: an export's plan and counters, shared with [`segment_job`], which renders, stores and commits one segment or
//!   the sound; [`work`]: what the processes that render are told of it; [`job`]: how jobs end.
//! * [`retry`]: another attempt; [`failure`]: why an export failed; [`report`]: what a finished one took; [`error`]: why a
//!   request was refused, or a job ended early.

pub mod admission;
pub mod coordinator;
pub mod coordinator_state;
pub mod dispatcher;
pub mod error;
pub mod estimate;
pub mod failure;
pub mod job;
pub mod models;
pub mod references;
pub mod report;
pub mod request;
pub mod retry;
pub mod run;
pub mod segment_job;
pub mod service;
pub mod slots;
pub mod steps;
pub mod work;
