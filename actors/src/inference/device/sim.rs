//! A simulated device: it waits instead of computing, and fails as configured. The node decides what goes wrong next
//! ([`SimDevice`]); the device process does it ([`SimEngine`]), so that what goes wrong is real.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use config::{SimFault, SimSettings};
use edits::RgbImage;

use crate::inference::queue::{Output, Task, TaskKind};

/// How one simulated device behaves. Its worker generations share it: a fault that happens three times is over then,
/// whichever generation met it.
pub struct SimDevice {
    per_frame: Duration,
    fault: Option<SimFault>,
    /// The calls that go wrong, counted from 0.
    faulty: Range<u64>,
    calls: AtomicU64,
}

/// How much longer a slow call takes.
const SLOWER: u32 = 10;
const ON_PURPOSE: &str = "a fault on purpose";

impl SimDevice {
    /// A device that takes `per_frame` for a frame at speed 1, with the speed and the faults of `settings`.
    pub fn new(per_frame: Duration, settings: Option<&SimSettings>) -> Self {
        let after = settings.map_or(0, |settings| settings.after);
        let times = settings.and_then(|settings| settings.times).unwrap_or(u64::MAX);
        Self {
            per_frame: per_frame.div_f64(settings.map_or(1.0, |settings| settings.speed)),
            fault: settings.and_then(|settings| settings.fault),
            faulty: after..after.saturating_add(times),
            calls: AtomicU64::new(0),
        }
    }

    /// What a frame takes.
    pub fn per_frame(&self) -> Duration {
        self.per_frame
    }

    /// What goes wrong in the next batch.
    pub fn next_batch(&self) -> Option<SimFault> {
        let call = self.calls.fetch_add(1, Relaxed);
        self.fault.filter(|_| self.faulty.contains(&call))
    }

    /// What goes wrong in the next canary: nothing until a batch has gone wrong, then the same.
    pub fn next_canary(&self) -> Option<SimFault> {
        let call = self.calls.load(Relaxed);
        if call == self.faulty.start || !self.faulty.contains(&call) {
            return None;
        }
        self.calls.fetch_add(1, Relaxed);
        self.fault
    }
}

/// Waits a fixed time per frame. Pictures come back as they were, so that the resampling to the output size gives
/// the plain Lanczos result; no person is ever detected.
pub struct SimEngine {
    per_frame: Duration,
}

impl SimEngine {
    /// A new worker's engine, after a canary that takes no time unless it goes wrong.
    ///
    /// # Errors
    /// When it goes wrong so that there is an answer.
    pub fn load(per_frame: Duration, canary: Option<SimFault>) -> Result<Self, String> {
        let engine = Self { per_frame };
        if let Some(fault) = canary {
            engine.work(1, Some(fault))?;
            if fault == SimFault::Garbage {
                return Err(format!("the canary's answer is wrong: {ON_PURPOSE}"));
            }
        }
        Ok(engine)
    }

    /// Answers for each image of a batch, in order.
    ///
    /// # Errors
    /// When that is what goes wrong.
    pub fn run(&self, task: &Task, images: &[&RgbImage], fault: Option<SimFault>) -> Result<Vec<Output>, String> {
        self.work(images.len(), fault)?;
        let answer = |image: &&RgbImage| match (fault, task.kind) {
            (Some(SimFault::Garbage), _) => Output::Image(RgbImage::new(image.width + 1, image.height)),
            (_, TaskKind::Upscale) => Output::Image((*image).clone()),
            (_, TaskKind::Detect) => Output::Boxes(Vec::new()),
        };
        Ok(images.iter().map(answer).collect())
    }

    /// Takes the time of so many frames, and does what goes wrong before there is an answer.
    fn work(&self, frames: usize, fault: Option<SimFault>) -> Result<(), String> {
        let frames = u32::try_from(frames).map_err(|error| error.to_string())?;
        match fault {
            Some(SimFault::Error) => return Err(ON_PURPOSE.to_owned()),
            Some(SimFault::Panic) => panic!("{ON_PURPOSE}"),
            Some(SimFault::Exit) => std::process::exit(EXIT_STATUS),
            Some(SimFault::Grow) => grow(),
            Some(SimFault::Hang) => loop {
                thread::park();
            },
            Some(SimFault::Slow) => thread::sleep(self.per_frame * frames * SLOWER),
            Some(SimFault::Garbage) | None => thread::sleep(self.per_frame * frames),
        }
        Ok(())
    }
}

/// The status of a process that exits on purpose.
const EXIT_STATUS: i32 = 3;
/// By how much a process grows at a time, in bytes.
const STEP: usize = 16 << 20;

/// Takes memory until there is none: the allocator ends the process then.
fn grow() -> ! {
    let mut held = Vec::new();
    loop {
        held.push(std::hint::black_box(vec![1_u8; STEP]));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::inference::profile::ModelProfile;

    fn faulty(fault: SimFault, after: u64, times: Option<u64>) -> SimDevice {
        let settings = SimSettings { device: config::DeviceName::Sim(0), speed: 1.0, fault: Some(fault), after, times };
        SimDevice::new(Duration::ZERO, Some(&settings))
    }

    fn run(device: &SimDevice, engine: &SimEngine) -> Result<Vec<Output>, String> {
        let task = Task { kind: TaskKind::Upscale, profile: Arc::new(ModelProfile::simulated("net")) };
        engine.run(&task, &[&RgbImage::new(4, 2)], device.next_batch())
    }

    fn load(device: &SimDevice) -> Result<SimEngine, String> {
        SimEngine::load(device.per_frame(), device.next_canary())
    }

    #[test]
    fn a_fault_begins_and_ends_as_configured() {
        let device = faulty(SimFault::Error, 2, Some(3));
        let engine = load(&device).unwrap();
        let served: Vec<_> = (0..4).map(|_| run(&device, &engine).is_ok()).collect();
        assert_eq!(served, [true, true, false, false]);
        assert!(load(&device).is_err(), "the canary fails as batches do");
        let engine = load(&device).unwrap();
        assert!(run(&device, &engine).is_ok());
    }

    #[test]
    fn a_device_that_always_fails_still_comes_up_once() {
        let device = faulty(SimFault::Garbage, 0, None);
        let engine = load(&device).unwrap();
        let answers = run(&device, &engine).unwrap();
        assert!(matches!(&answers[..], [Output::Image(image)] if (image.width, image.height) == (5, 2)));
        assert!(load(&device).is_err());
    }

    #[test]
    fn a_device_of_half_the_speed_takes_twice_the_time() {
        let settings =
            SimSettings { device: config::DeviceName::Sim(0), speed: 0.5, fault: None, after: 0, times: None };
        let device = SimDevice::new(Duration::from_millis(10), Some(&settings));
        assert_eq!(device.per_frame(), Duration::from_millis(20));
    }
}
