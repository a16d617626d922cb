//! `--trace FILE`: what every thread did and when, in Chrome's JSON trace format, for <https://ui.perfetto.dev>.
//!
//! One row a thread. Work for an export lies in a `job` slice that names the export, the tenant, the segment and the
//! attempt; within it are the stages (`decode`, `transform`, `queue`, `wait`, `encode`, `mux`, `commit`). A device's
//! row has an `infer` slice a batch, which names the exports whose frames are in it.

use std::fs::OpenOptions;
use std::io::BufWriter;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use tracing::level_filters::LevelFilter;
use tracing_chrome::{ChromeLayerBuilder, FlushGuard};
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::{Layer, Registry};

/// Finishes the file when it is dropped.
pub struct Finish {
    _guard: FlushGuard,
}

/// A layer that writes into `path`, which is replaced.
///
/// # Errors
/// When the file cannot be made.
pub fn to_file(path: &Path) -> anyhow::Result<(Box<dyn Layer<Registry> + Send + Sync>, Finish)> {
    // It records who did what: no other user of this machine may read it.
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let file = opened.with_context(|| format!("making the trace {}", path.display()))?;
    let (layer, guard) =
        ChromeLayerBuilder::new().writer(BufWriter::new(file)).include_args(true).include_locations(false).build();
    let own = Targets::new().with_target("actors", LevelFilter::TRACE).with_target("touchline", LevelFilter::INFO);
    // What is logged is in the log.
    let spans = own.and(filter_fn(|metadata| metadata.is_span()));
    Ok((layer.with_filter(spans).boxed(), Finish { _guard: guard }))
}
