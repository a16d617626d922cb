//! The utilisation of a device over the last minute.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Length of the window.
const WINDOW: Duration = Duration::from_secs(60);
/// Distance of the samples it keeps.
const SAMPLE: Duration = Duration::from_secs(1);

/// Samples of a device's busy seconds over the last minute.
pub struct UtilizationWindow {
    /// When, and busy seconds until then; oldest first, at least one.
    samples: VecDeque<(Instant, f64)>,
}

impl UtilizationWindow {
    /// A device that was never busy until now.
    pub fn new(now: Instant) -> Self {
        Self { samples: VecDeque::from([(now, 0.0)]) }
    }

    /// Share of the last minute, or of the time since the beginning, in which the device was busy: 0 to 1.
    /// `busy`: all its busy seconds until `now`.
    pub fn ratio(&mut self, now: Instant, busy: f64) -> f64 {
        while self.samples.len() > 1 && self.samples[1].0 + WINDOW <= now {
            self.samples.pop_front();
        }
        let latest = self.samples[self.samples.len() - 1].0;
        if now >= latest + SAMPLE {
            self.samples.push_back((now, busy));
        }
        let (since, before) = self.samples[0];
        let seconds = (now - since).as_secs_f64();
        if seconds > 0.0 { ((busy - before) / seconds).clamp(0.0, 1.0) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_what_was_more_than_a_minute_ago() {
        let start = Instant::now();
        let mut window = UtilizationWindow::new(start);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(window.ratio(start, 0.0), 0.0);
        for second in 1..=100 {
            // Busy all the time, then not at all.
            let busy = second.min(50) as f64;
            let ratio = window.ratio(at(second), busy);
            match second {
                1..=50 => assert_eq!(ratio, 1.0),
                100 => assert!((ratio - 10.0 / 60.0).abs() < 0.02, "{ratio}"),
                _ => {}
            }
        }
        assert!(window.ratio(at(200), 50.0) < 0.01);
    }
}
