//! A device's health: a state machine without a clock or a thread. The [supervisor](super::supervisor) reports
//! events to it and carries out its verdicts.
//!
//! ```text
//!              loaded                    fault, or a result is overdue
//! ┌─▶ loading ────────▶ ready ◀──────────────────────────────▶ suspect
//! │      ▲  ▲             │                served                 │
//! │      │  └─────────────┴── worker lost (backoff) ──────────────┤
//! │      └─────────────── out of service ◀── lost once too often ─┘
//! │ enable
//! └──── disabled ◀── in hand is done ── draining ◀── drain
//! ```

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

/// How a device is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceHealth {
    /// Its worker loads models and checks them, or waits for its backoff to pass.
    Loading,
    /// It serves batches.
    Ready,
    /// It serves batches, one at a time: the last one failed, a result is overdue, or it was out of service before.
    Suspect,
    /// An operator takes it out; what it has in hand finishes.
    Draining,
    /// An operator took it out.
    Disabled,
    /// Worker after worker failed; the next is tried after a longer backoff.
    OutOfService,
}

impl DeviceHealth {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Loading, Self::Ready, Self::Suspect, Self::Draining, Self::Disabled, Self::OutOfService];

    /// As in JSON, and as a metric's label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Ready => "ready",
            Self::Suspect => "suspect",
            Self::Draining => "draining",
            Self::Disabled => "disabled",
            Self::OutOfService => "out_of_service",
        }
    }

    /// Whether it takes batches.
    pub fn serves(self) -> bool {
        matches!(self, Self::Ready | Self::Suspect)
    }
}

/// What to do after a batch failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The worker goes on.
    KeepWorker,
    /// The worker is to be replaced: [`Health::worker_lost`] gives the backoff.
    ReplaceWorker,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Health {
    now: DeviceHealth,
    faults_in_a_row: u32,
    /// Workers in a row that ended before they served a batch.
    workers_lost: u32,
}

/// Faults in a row after which a worker is replaced.
const FAULTS_TO_REPLACE: u32 = 3;
/// Workers in a row that were lost before they served a batch, until the device is out of service.
const LOSSES_TO_LEAVE: u32 = 3;
const FIRST_BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

impl Health {
    /// A device whose first worker loads.
    pub fn new() -> Self {
        Self { now: DeviceHealth::Loading, faults_in_a_row: 0, workers_lost: 0 }
    }

    pub fn now(&self) -> DeviceHealth {
        self.now
    }

    /// A worker begins to load.
    pub fn loading(&mut self) {
        self.now = DeviceHealth::Loading;
    }

    /// The worker has loaded its models and they answered their canaries. After lost workers it has to serve a batch
    /// before it is trusted again.
    pub fn loaded(&mut self) {
        if self.now == DeviceHealth::Loading {
            self.now = if self.workers_lost == 0 { DeviceHealth::Ready } else { DeviceHealth::Suspect };
        }
    }

    /// A batch was served.
    pub fn served(&mut self) {
        self.faults_in_a_row = 0;
        self.workers_lost = 0;
        if self.now == DeviceHealth::Suspect {
            self.now = DeviceHealth::Ready;
        }
    }

    /// A result is overdue: the device is suspect until a batch is served, or its worker counts as stalled.
    pub fn overdue(&mut self) {
        if self.now == DeviceHealth::Ready {
            self.now = DeviceHealth::Suspect;
        }
    }

    /// A batch failed. A device that was out of service has one try only.
    pub fn failed(&mut self) -> Verdict {
        self.faults_in_a_row += 1;
        if self.now == DeviceHealth::Ready {
            self.now = DeviceHealth::Suspect;
        }
        let on_probation = self.workers_lost >= LOSSES_TO_LEAVE;
        if on_probation || self.faults_in_a_row >= FAULTS_TO_REPLACE {
            Verdict::ReplaceWorker
        } else {
            Verdict::KeepWorker
        }
    }

    /// The worker is gone: it failed too often, panicked, stalled, or its models did not load. Answers after which
    /// backoff the next is to be started; never, where an operator had taken the device out.
    pub fn worker_lost(&mut self) -> Option<Duration> {
        self.faults_in_a_row = 0;
        self.workers_lost = self.workers_lost.saturating_add(1);
        if matches!(self.now, DeviceHealth::Draining | DeviceHealth::Disabled) {
            self.now = DeviceHealth::Disabled;
            return None;
        }
        let leaves = self.workers_lost >= LOSSES_TO_LEAVE;
        self.now = if leaves { DeviceHealth::OutOfService } else { DeviceHealth::Loading };
        let doublings = (self.workers_lost - 1).min(7);
        Some((FIRST_BACKOFF * 2u32.pow(doublings)).min(LONGEST_BACKOFF))
    }

    /// No further worker can be started.
    pub fn leave(&mut self) {
        self.now = DeviceHealth::OutOfService;
    }

    /// An operator takes the device out once what it has in hand is done.
    pub fn drain(&mut self) {
        self.now = match self.now {
            DeviceHealth::Ready | DeviceHealth::Suspect | DeviceHealth::Draining => DeviceHealth::Draining,
            DeviceHealth::Loading | DeviceHealth::Disabled | DeviceHealth::OutOfService => DeviceHealth::Disabled,
        };
    }

    /// A draining device has nothing in hand any more.
    pub fn drained(&mut self) {
        if self.now == DeviceHealth::Draining {
            self.now = DeviceHealth::Disabled;
        }
    }

    /// An operator takes the device out at once.
    pub fn disable(&mut self) {
        self.now = DeviceHealth::Disabled;
    }

    /// An operator brings the device back. True: a worker is to be started now, and earlier failures no longer count.
    pub fn enable(&mut self) -> bool {
        match self.now {
            DeviceHealth::Draining => {
                self.now = if self.workers_lost == 0 { DeviceHealth::Ready } else { DeviceHealth::Suspect };
                false
            }
            DeviceHealth::Disabled | DeviceHealth::OutOfService => {
                *self = Self::new();
                true
            }
            DeviceHealth::Loading | DeviceHealth::Ready | DeviceHealth::Suspect => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Health {
        let mut health = Health::new();
        health.loaded();
        assert_eq!(health.now(), DeviceHealth::Ready);
        health
    }

    /// Loads a worker and lets it fail until it is replaced; its faults and the backoff after it.
    fn lose_a_worker(health: &mut Health) -> (u32, Duration) {
        health.loading();
        health.loaded();
        let mut faults = 1;
        while health.failed() == Verdict::KeepWorker {
            assert_eq!(health.now(), DeviceHealth::Suspect);
            faults += 1;
        }
        (faults, health.worker_lost().unwrap())
    }

    #[test]
    fn one_fault_makes_suspect_and_one_answer_trusted() {
        let mut health = ready();
        assert_eq!(health.failed(), Verdict::KeepWorker);
        assert_eq!(health.now(), DeviceHealth::Suspect);
        health.served();
        assert_eq!(health.now(), DeviceHealth::Ready);
        assert_eq!(health.failed(), Verdict::KeepWorker, "the count began anew");
    }

    #[test]
    fn an_overdue_result_makes_suspect_until_it_comes() {
        let mut health = ready();
        health.overdue();
        assert_eq!(health.now(), DeviceHealth::Suspect);
        health.served();
        assert_eq!(health.now(), DeviceHealth::Ready);
    }

    #[test]
    fn repeated_faults_take_it_out_with_growing_backoff() {
        let mut health = ready();
        let lost: Vec<_> = (0..3).map(|_| lose_a_worker(&mut health)).collect();
        let millis = |n| Duration::from_millis(n);
        assert_eq!(lost, [(3, millis(500)), (3, millis(1000)), (3, millis(2000))]);
        assert_eq!(health.now(), DeviceHealth::OutOfService);
        assert_eq!(lose_a_worker(&mut health), (1, millis(4000)), "one try only");
        assert_eq!(health.now(), DeviceHealth::OutOfService);
        for _ in 0..20 {
            lose_a_worker(&mut health);
        }
        assert_eq!(lose_a_worker(&mut health).1, LONGEST_BACKOFF);
    }

    #[test]
    fn a_device_that_comes_back_is_trusted_after_a_batch() {
        let mut health = ready();
        for _ in 0..3 {
            lose_a_worker(&mut health);
        }
        health.loading();
        health.loaded();
        assert_eq!(health.now(), DeviceHealth::Suspect);
        health.served();
        assert_eq!(health.now(), DeviceHealth::Ready);
        assert_eq!(lose_a_worker(&mut health), (3, FIRST_BACKOFF), "all is forgotten");
    }

    #[test]
    fn draining_ends_disabled_and_enabling_begins_anew() {
        let mut health = ready();
        health.drain();
        assert_eq!(health.now(), DeviceHealth::Draining);
        assert!(!health.enable(), "its worker is still there");
        assert_eq!(health.now(), DeviceHealth::Ready);
        health.drain();
        health.drain();
        assert_eq!(health.now(), DeviceHealth::Draining, "asking twice is not more urgent");
        health.drained();
        assert_eq!(health.now(), DeviceHealth::Disabled);
        health.loaded();
        assert_eq!(health.now(), DeviceHealth::Disabled, "a late worker changes nothing");
        assert!(health.enable());
        assert_eq!(health.now(), DeviceHealth::Loading);
    }

    #[test]
    fn a_worker_lost_while_draining_is_not_replaced() {
        let mut health = ready();
        health.drain();
        assert_eq!(health.worker_lost(), None);
        assert_eq!(health.now(), DeviceHealth::Disabled);
    }

    #[test]
    fn an_operator_brings_back_what_is_out_of_service() {
        let mut health = ready();
        for _ in 0..3 {
            lose_a_worker(&mut health);
        }
        assert!(health.enable());
        assert_eq!(lose_a_worker(&mut health), (3, FIRST_BACKOFF));
        health.drain();
        assert_eq!(health.now(), DeviceHealth::Disabled, "nothing is in hand");
    }

    #[test]
    fn a_device_serves_while_it_is_ready_or_suspect() {
        let serving: Vec<_> = DeviceHealth::ALL.into_iter().filter(|health| health.serves()).collect();
        assert_eq!(serving, [DeviceHealth::Ready, DeviceHealth::Suspect]);
    }

    #[test]
    fn names_are_those_of_the_api() {
        let names = DeviceHealth::ALL.map(DeviceHealth::name);
        assert_eq!(names, ["loading", "ready", "suspect", "draining", "disabled", "out_of_service"]);
    }

    #[test]
    fn a_device_that_is_taken_out_at_once_serves_nothing() {
        let mut health = ready();
        health.disable();
        assert_eq!(health.now(), DeviceHealth::Disabled);
        let mut health = ready();
        health.leave();
        assert_eq!(health.now(), DeviceHealth::OutOfService);
        assert!(health.enable(), "a worker is to be started");
    }
}
