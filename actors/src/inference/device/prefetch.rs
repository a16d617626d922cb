//! When a device will be nearly free: the next batch is taken then and not earlier, so that what comes in between with
//! a better right overtakes it, and a slow device holds nothing that a quick one could do.

use std::time::Duration;

use super::worker::Batch;

/// How long a device's batches take, against what was expected of their frames.
#[derive(Default)]
pub struct Prefetch {
    /// Moving average; None until a batch was served.
    ratio: Option<f64>,
}

/// The share of a new measurement in the moving average.
const NEWS: f64 = 0.3;
/// The share of a batch's time that is left when the next one is taken.
const LEAD: f64 = 0.1;
const SHORTEST_LEAD: f64 = 0.002;
const LONGEST_LEAD: f64 = 0.05;

impl Prefetch {
    /// Learns that `batch` took `seconds`.
    pub fn note(&mut self, batch: &Batch, seconds: f64) {
        let now = seconds / expected(batch);
        if now.is_finite() {
            let ratio = self.ratio.get_or_insert(now);
            *ratio += NEWS * (now - *ratio);
        }
    }

    /// How long to wait until `running`, which began so long ago, is nearly done; None: no longer.
    pub fn until_nearly_done(&self, running: &Batch, elapsed: Duration) -> Option<Duration> {
        let whole = self.ratio? * expected(running);
        let lead = (whole * LEAD).clamp(SHORTEST_LEAD, LONGEST_LEAD);
        let wait = whole - lead - elapsed.as_secs_f64();
        Duration::try_from_secs_f64(wait).ok().filter(|wait| !wait.is_zero())
    }
}

/// Device seconds that were expected of a batch.
fn expected(batch: &Batch) -> f64 {
    batch.iter().map(|job| job.estimate).sum()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use edits::RgbImage;
    use entities::{ExportId, TenantId};

    use super::*;
    use crate::inference::profile::ModelProfile;
    use crate::inference::queue::{FrameJob, Task, TaskKind};

    fn batch(estimate: f64) -> Batch {
        let task = Task { kind: TaskKind::Upscale, profile: Arc::new(ModelProfile::simulated("net")) };
        let image = Arc::new(RgbImage::new(1, 1));
        vec![FrameJob::new(TenantId::new(), ExportId::new(), task, image, estimate).0]
    }

    #[test]
    fn the_next_batch_is_taken_shortly_before_the_running_one_ends() {
        let mut prefetch = Prefetch::default();
        assert_eq!(prefetch.until_nearly_done(&batch(1.0), Duration::ZERO), None, "nothing is known yet");
        // Half as fast as expected.
        prefetch.note(&batch(0.05), 0.1);
        let wait = |elapsed| prefetch.until_nearly_done(&batch(0.1), Duration::from_secs_f64(elapsed));
        assert!((wait(0.05).unwrap().as_secs_f64() - 0.13).abs() < 1e-6);
        assert_eq!(wait(0.19), None);
        assert_eq!(wait(9.0), None, "it takes longer than expected");
    }

    #[test]
    fn a_device_without_an_estimate_is_asked_for_at_once() {
        let mut prefetch = Prefetch::default();
        prefetch.note(&batch(0.0), 0.1);
        assert_eq!(prefetch.until_nearly_done(&batch(0.0), Duration::ZERO), None);
    }
}
