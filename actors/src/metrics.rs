//! The metrics of the running system: their names and descriptions, and the recording of those with several labels.
//!
//! They are Prometheus metrics. A name ends in its unit, in `_total` if it only grows; `docs/operations.md` lists
//! all of them, and a test compares that list with what is described here.

use std::time::Duration;

use entities::exports::Export;
use entities::jobs::JobKind;
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Describes each metric of this crate; the queue and the devices describe their own.
pub fn describe() {
    describe_counter!("touchline_exports_total", Unit::Count, "Exports that ended, by kind and state.");
    describe_histogram!(
        "touchline_export_seconds",
        Unit::Seconds,
        "Time from the acceptance of an export to its end, by kind and state."
    );
    describe_counter!(
        "touchline_jobs_total",
        Unit::Count,
        "Segments and sound tracks that this node took up, by kind and end: committed, not_needed (another claim was \
         first, or the export had ended), retried, dead (failed too often) or released (the node stopped)."
    );
    describe_histogram!("touchline_job_seconds", Unit::Seconds, "Time from claiming such a job to its end, by kind.");
    describe_counter!("touchline_job_failures_total", Unit::Count, "Failed attempts at such jobs.");
    describe_counter!(
        "touchline_render_processes_total",
        Unit::Count,
        "Tasks of render processes, by task (check, inspect, index, thumbnail, frame, scan, prepare, segment, audio or join) and \
         end: answered, refused, stopped, crashed, killed or failed."
    );
    describe_counter!(
        "touchline_detection_reads_total",
        Unit::Count,
        "Reads of stored detections, by where they were found: memory, redis or database."
    );
    describe_gauge!("touchline_progress_listeners", Unit::Count, "Subscriptions to progress.");
    describe_counter!(
        "touchline_progress_messages_total",
        Unit::Count,
        "Progress messages for listeners, by outcome: sent, skipped (the listener was busy, and a newer one follows), \
         waited (a last message that had to wait for its listener) or lost (a last message whose listener never \
         took it)."
    );
    describe_counter!(
        "touchline_webhook_tries_total",
        Unit::Count,
        "Tries to deliver a webhook message, by outcome: delivered, again (it is tried later) or given_up."
    );
    describe_gauge!("touchline_redis_up", Unit::Count, "1 while the Redis that is set answers, else 0.");
    describe_counter!(
        "touchline_redis_failures_total",
        Unit::Count,
        "Calls that Redis refused or did not answer in time."
    );
    crate::inference::queue::describe();
    crate::inference::device::describe();
}

/// Counts an ended job that made, or should have made, a file.
pub(crate) fn job_ended(kind: JobKind, outcome: &'static str, took: Duration) {
    let kind = kind.to_string().to_lowercase();
    metrics::counter!("touchline_jobs_total", "kind" => kind.clone(), "end" => outcome).increment(1);
    metrics::histogram!("touchline_job_seconds", "kind" => kind).record(took.as_secs_f64());
}

/// Counts an export that has come to its end.
pub(crate) fn export_ended(row: &Export) {
    let labels = [("kind", row.kind.to_string().to_lowercase()), ("state", row.state.to_string().to_lowercase())];
    metrics::counter!("touchline_exports_total", &labels).increment(1);
    if let Some(finished) = row.finished_at {
        let seconds = (finished - row.created_at).as_seconds_f64();
        metrics::histogram!("touchline_export_seconds", &labels).record(seconds.max(0.0));
    }
}
