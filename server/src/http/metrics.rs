//! The figures of the process: their recorder, their meaning, and those that are read at each scrape.
//!
//! `docs/operations.md` lists every one; a test here compares.

use std::sync::OnceLock;

use anyhow::Context;
use entities::jobs::{self, JobKind, JobState};
use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::state::State;

/// Upper bounds of a histogram's buckets, in seconds, unless [`BUCKETS`] has others.
pub(super) const SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];
/// Histograms of other ranges.
const BUCKETS: [(&str, &[f64]); 3] = [
    ("touchline_device_batch_frames", &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0]),
    ("touchline_export_seconds", &[1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 14_400.0]),
    ("touchline_job_seconds", &[0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0]),
];

/// The process' metrics recorder, installed by the first call. Call it before the node starts, so
/// that what happens at start is counted too.
///
/// # Errors
/// When another recorder is installed already.
pub fn install_metrics() -> anyhow::Result<PrometheusHandle> {
    static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = INSTALLED.get() {
        return Ok(handle.clone());
    }
    let mut builder = PrometheusBuilder::new().set_buckets(&SECONDS).context("naming the buckets of histograms")?;
    for (name, buckets) in BUCKETS {
        let matcher = Matcher::Full(name.to_owned());
        builder = builder.set_buckets_for_metric(matcher, buckets).context("naming the buckets of histograms")?;
    }
    let handle = builder.install_recorder().context("installing the metrics recorder")?;
    let handle = INSTALLED.get_or_init(|| handle).clone();
    describe();
    metrics::gauge!("touchline_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

/// Says what every figure means.
fn describe() {
    actors::metrics::describe();
    describe_gauge!("touchline_build_info", Unit::Count, "1; the label says which version runs.");
    describe_counter!(
        "touchline_http_requests_total",
        Unit::Count,
        "Requests, by method (other: not one of the route's), route (its pattern, or unmatched) and status."
    );
    describe_counter!(
        "touchline_log_lines_lost_total",
        Unit::Count,
        "Log lines that were dropped, because their reader was stuck and 100 000 more were waiting."
    );
    describe_histogram!(
        "touchline_http_request_seconds",
        Unit::Seconds,
        "Time until a request was answered, by method and route; the bodies of answers are not in it."
    );
    describe_counter!(
        "touchline_logins_total",
        Unit::Count,
        "Passwords that were sent, by outcome: right, wrong, throttled (too many wrong ones) or busy (too many were being \
         checked)."
    );
    describe_counter!(
        "touchline_requests_refused_total",
        Unit::Count,
        "Requests that came too fast, by the limit that refused them."
    );
    describe_gauge!("touchline_sockets_open", Unit::Count, "Open WebSockets.");
    describe_counter!("touchline_upload_bytes_total", Unit::Bytes, "Bytes of uploads that arrived.");
    describe_counter!(
        "touchline_uploads_total",
        Unit::Count,
        "Uploads whose last piece arrived, by outcome: accepted or refused."
    );
    describe_gauge!(
        "touchline_jobs",
        Unit::Count,
        "Unfinished jobs of the deployment, by kind (coordinate: exports; segment; audio) and state (ready or running)."
    );
    describe_gauge!(
        "touchline_jobs_retrying",
        Unit::Count,
        "Those of them that have failed before and are tried again, by kind."
    );
    describe_gauge!(
        "touchline_database_connections",
        Unit::Count,
        "Open connections, by pool (reader or writer) and state (busy or idle)."
    );
    describe_gauge!("process_resident_memory_bytes", Unit::Bytes, "Memory of the process that is not swapped out.");
    describe_gauge!("process_open_fds", Unit::Count, "Open files and sockets of the process.");
    describe_gauge!("process_threads", Unit::Count, "Threads of the process.");
}

/// Reads what is not counted as it happens.
///
/// # Errors
/// When the database does not answer.
pub async fn measure(state: &State) -> Result<(), entities::Error> {
    let db = &state.db;
    for (pool, open, idle) in db.connections() {
        let busy = f64::from(open) - idle as f64;
        metrics::gauge!("touchline_database_connections", "pool" => pool, "state" => "idle").set(idle as f64);
        metrics::gauge!("touchline_database_connections", "pool" => pool, "state" => "busy").set(busy.max(0.0));
    }
    measure_process();
    measure_jobs(&jobs::queue_depths(db).await?);
    Ok(())
}

fn measure_jobs(depths: &[jobs::QueueDepth]) {
    // Kinds without a job are set, too: a gauge that was set would else stay.
    for (kind, kind_name) in
        [(JobKind::Coordinate, "coordinate"), (JobKind::Segment, "segment"), (JobKind::Audio, "audio")]
    {
        let own = || depths.iter().filter(|jobs| jobs.kind == kind);
        for (state, name) in [(JobState::Ready, "ready"), (JobState::Running, "running")] {
            let count: i64 = own().filter(|jobs| jobs.state == state).map(|jobs| jobs.jobs).sum();
            metrics::gauge!("touchline_jobs", "kind" => kind_name, "state" => name).set(count as f64);
        }
        let retrying: i64 = own().map(|jobs| jobs.retrying).sum();
        metrics::gauge!("touchline_jobs_retrying", "kind" => kind_name).set(retrying as f64);
    }
}

/// What the kernel says of this process; where it says nothing, nothing is set.
fn measure_process() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    if let Some(kibibytes) = value("VmRSS:") {
        metrics::gauge!("process_resident_memory_bytes").set(kibibytes * 1024.0);
    }
    if let Some(threads) = value("Threads:") {
        metrics::gauge!("process_threads").set(threads);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        metrics::gauge!("process_open_fds").set(files.count() as f64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString};

    use super::*;

    /// Keeps what is described.
    #[derive(Default)]
    struct Described(Mutex<BTreeMap<String, (&'static str, String)>>);

    impl Described {
        fn note(&self, name: &KeyName, kind: &'static str, help: &SharedString) {
            self.0.lock().unwrap().insert(name.as_str().to_owned(), (kind, help.to_string()));
        }
    }

    impl Recorder for Described {
        fn describe_counter(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
            self.note(&name, "counter", &help);
        }
        fn describe_gauge(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
            self.note(&name, "gauge", &help);
        }
        fn describe_histogram(&self, name: KeyName, _: Option<Unit>, help: SharedString) {
            self.note(&name, "histogram", &help);
        }
        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::noop()
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn the_operations_page_lists_exactly_the_figures_there_are() {
        let recorder = Described::default();
        metrics::with_local_recorder(&recorder, describe);
        let described = recorder.0.into_inner().unwrap();
        let page = include_str!("../../../docs/operations.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
        let listed: BTreeMap<_, _> = rows
            .filter(|(name, _)| name.starts_with("touchline_") || name.starts_with("process_"))
            .filter_map(|(name, rest)| {
                let (kind, help) = rest.trim_end_matches(" |").split_once(" | ")?;
                Some((name.to_owned(), (kind.to_owned(), help.to_owned())))
            })
            .collect();
        let described: BTreeMap<_, _> =
            described.into_iter().map(|(name, (kind, help))| (name, (kind.to_owned(), help))).collect();
        assert_eq!(listed, described);
    }
}
