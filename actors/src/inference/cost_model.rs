//! How long a device takes for a picture: first as it was measured when the profile was chosen, then as exports show.
//! The unit of fair sharing, and what estimates are made from.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::inference::profile::{DeviceClass, ModelProfile};
use crate::inference::queue::TaskKind;

/// A rough device second a pixel of a super-resolution model, until something was measured.
const SECONDS_PER_PIXEL: f64 = 1e-5;
/// A rough device second a picture of a detector, which scales every picture to one size.
const SECONDS_PER_DETECTION: f64 = 0.04;
/// The share of a new measurement in the moving average.
const NEWS: f64 = 0.05;

/// Device seconds of one unit of each model's work: a pixel for an upscaler, a picture for a detector.
pub struct CostModel {
    /// What a simulated device waits for a picture, in seconds.
    simulated: f64,
    known: Mutex<HashMap<(DeviceClass, String), f64>>,
}

impl CostModel {
    /// `simulated`: seconds that a simulated device waits for a picture.
    pub fn new(simulated: f64) -> Self {
        Self { simulated, known: Mutex::default() }
    }

    /// Device seconds expected for a picture of `width` x `height`.
    pub fn expected(&self, kind: TaskKind, profile: &ModelProfile, (width, height): (u32, u32)) -> f64 {
        if profile.class == DeviceClass::Sim {
            return self.simulated;
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(&(profile.class, profile.model.clone())) {
            Some(unit) => unit * units(kind, width, height),
            None => measured(kind, profile) * units(kind, width, height),
        }
    }

    /// Learns that a picture took `seconds`.
    pub fn note(&self, kind: TaskKind, profile: &ModelProfile, (width, height): (u32, u32), seconds: f64) {
        let now = seconds / units(kind, width, height);
        if now.is_finite() && now > 0.0 {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let unit = known.entry((profile.class, profile.model.clone())).or_insert(now);
            *unit += NEWS * (now - *unit);
        }
    }
}

fn units(kind: TaskKind, width: u32, height: u32) -> f64 {
    match kind {
        TaskKind::Upscale => (f64::from(width) * f64::from(height)).max(1.0),
        TaskKind::Detect => 1.0,
    }
}

/// What choosing the profile measured, or a rough figure.
fn measured(kind: TaskKind, profile: &ModelProfile) -> f64 {
    match (profile.trial, kind) {
        (Some(trial), _) => trial.seconds / units(kind, trial.width, trial.height),
        (None, TaskKind::Upscale) => SECONDS_PER_PIXEL,
        (None, TaskKind::Detect) => SECONDS_PER_DETECTION,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_served_replaces_what_was_guessed() {
        let (costs, profile) =
            (CostModel::new(0.7), ModelProfile { class: DeviceClass::Cpu, ..ModelProfile::simulated("m") });
        let expected = |size| costs.expected(TaskKind::Upscale, &profile, size);
        assert!((expected((100, 100)) - 0.1).abs() < 1e-9);
        costs.note(TaskKind::Upscale, &profile, (200, 100), 0.4);
        assert!((expected((100, 100)) - 0.2).abs() < 1e-9, "the first measurement counts whole");
        costs.note(TaskKind::Upscale, &profile, (100, 100), 0.4);
        assert!((expected((100, 100)) - 0.21).abs() < 1e-9, "later ones a little");
        let sim = ModelProfile::simulated("m");
        assert_eq!(costs.expected(TaskKind::Upscale, &sim, (9, 9)), 0.7);
        assert_eq!(costs.expected(TaskKind::Detect, &sim, (9, 9)), 0.7);
    }
}
