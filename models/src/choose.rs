//! Choosing a numeric profile: measured once, then kept.
//!
//! Which provider and precision is fastest depends on the processor, so each offered one infers a generated picture.
//! Reduced precisions count only if they come close enough to fp32. The winner is kept in a file by hardware, threads,
//! runtime version and model sum, because a profile must not change from start to start.

use crate::{
    Detector, DeviceKind, Family, ModelError, ModelKind, ModelStore, NumericProfile, Precision, Provider, Upscaler,
    canary, device, runtime, write,
};
use edits::RgbImage;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

/// Least PSNR of a reduced precision against fp32 on the same device, in dB of the outputs' peak.
pub(crate) const LEAST_PRECISION_DB: f64 = 45.0;

/// Another candidate must be this much faster than the first, most exact one to win: times are noisy.
const WORTH_CHANGING: f64 = 0.95;

/// Runs timed per candidate, and the time after which fewer do.
const RUNS: usize = 5;
const ENOUGH: Duration = Duration::from_millis(800);

const FILE: &str = "profiles.json";
/// Locked while a choice is made. Beside the file, which is replaced as a whole.
const LOCK: &str = "profiles.lock";

#[derive(Default, Serialize, Deserialize)]
struct Kept {
    choices: Vec<Choice>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Choice {
    profile: NumericProfile,
    measured: Vec<Measurement>,
}

/// What a candidate did on the generated picture.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Measurement {
    provider: Provider,
    precision: Precision,
    batch: usize,
    milliseconds_per_picture: f64,
    /// Against the first fp32 candidate; absent for that one itself and for equal results.
    #[serde(skip_serializing_if = "Option::is_none")]
    psnr_db: Option<f64>,
    eligible: bool,
}

/// The profile under which `device` runs `model`: measured among what this machine offers and kept in
/// `keep_dir/profiles.json`, or read from there.
///
/// # Errors
/// The model or ONNX Runtime is missing, or the device offers nothing that works.
pub fn choose_profile(
    store: &ModelStore,
    model: &str,
    device: &DeviceKind,
    keep_dir: &Path,
) -> Result<NumericProfile, ModelError> {
    if let Some(profile) = kept_profile(store, model, device, keep_dir)? {
        return Ok(profile);
    }
    // One choice at a time in a folder, of all threads and processes: measurements would disturb each other, and of two
    // that keep a choice the second would replace the profile that the first has rendered with.
    let _one_at_a_time = lock(keep_dir)?;
    let path = keep_dir.join(FILE);
    let mut kept = read(&path)?;
    let hardware = ground(store, model, device)?;
    if let Some(profile) = kept_for(&kept, &hardware) {
        return Ok(profile);
    }
    let library = store.runtime_library()?;
    let choice = measure(store, &hardware, device, library.parent().expect("a library lies in a folder"))?;
    let profile = choice.profile.clone();
    kept.choices.push(choice);
    let text = serde_json::to_string_pretty(&kept).expect("plain data serialises");
    write::atomically(&path, text.as_bytes())?;
    Ok(profile)
}

/// The profile that [`choose_profile`] kept in `keep_dir`; `None` where it has not measured this model, device and
/// runtime yet. Reads files alone, and runs no model.
///
/// # Errors
/// The model or ONNX Runtime is missing, or the kept file cannot be read.
pub fn kept_profile(
    store: &ModelStore,
    model: &str,
    device: &DeviceKind,
    keep_dir: &Path,
) -> Result<Option<NumericProfile>, ModelError> {
    let hardware = ground(store, model, device)?;
    Ok(kept_for(&read(&keep_dir.join(FILE))?, &hardware))
}

/// What a choice is made for, in a profile whose other numbers are not chosen yet.
fn ground(store: &ModelStore, model: &str, device: &DeviceKind) -> Result<NumericProfile, ModelError> {
    Ok(NumericProfile {
        model: model.to_owned(),
        model_sha256: store.entry(model)?.sha256.clone(),
        provider: Provider::Cpu,
        precision: Precision::Fp32,
        threads: device.threads(),
        batch: 1,
        runtime_version: runtime::version(&store.runtime_library()?),
        device: device.name(),
    })
}

fn kept_for(kept: &Kept, hardware: &NumericProfile) -> Option<NumericProfile> {
    kept.choices.iter().map(|choice| &choice.profile).find(|profile| same_ground(profile, hardware)).cloned()
}

/// Waits until no other thread or process chooses in this folder, and keeps others out until the file is closed: the lock
/// (flock(2)) is of the open file, so threads of one process wait for each other, too.
fn lock(keep_dir: &Path) -> Result<File, ModelError> {
    std::fs::create_dir_all(keep_dir).map_err(ModelError::io("creating folder", keep_dir))?;
    let path = keep_dir.join(LOCK);
    let locked = File::create(&path).and_then(|file| file.lock().map(|()| file));
    locked.map_err(ModelError::io("locking", &path))
}

/// How quick a profile was when it was chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// Size of the pictures that were tried.
    pub width: u32,
    pub height: u32,
    /// Seconds a picture took.
    pub seconds: f64,
}

/// What [`choose_profile`] measured for a profile it kept in `keep_dir`; `None` when it has kept none.
///
/// # Errors
/// The kept file cannot be read, or the model is not in the manifest.
pub fn trial(store: &ModelStore, profile: &NumericProfile, keep_dir: &Path) -> Result<Option<Trial>, ModelError> {
    let (width, height) = trial_size(store.entry(&profile.model)?.family);
    let kept = read(&keep_dir.join(FILE))?;
    let choice = kept.choices.into_iter().find(|choice| choice.profile == *profile);
    let measured = choice.and_then(|choice| {
        let same = |one: &&Measurement| {
            (one.provider, one.precision, one.batch) == (profile.provider, profile.precision, profile.batch)
        };
        choice.measured.iter().find(same).map(|one| one.milliseconds_per_picture)
    });
    Ok(measured.map(|milliseconds| Trial { width, height, seconds: milliseconds / 1e3 }))
}

/// The samples that a manifest entry's `canary` records, as computed under `profile` on `device`: for adding a model,
/// and for re-recording after a converter changed what it writes.
pub fn canary_answer(
    store: &ModelStore,
    profile: &NumericProfile,
    device: &DeviceKind,
) -> Result<Vec<f32>, ModelError> {
    let picture = canary::picture(canary::WIDTH, canary::HEIGHT);
    let outputs = Loaded::load(store, profile, device)?.raw(&picture)?;
    Ok(canary::samples(&outputs))
}

fn same_ground(kept: &NumericProfile, here: &NumericProfile) -> bool {
    let ground = |profile: &NumericProfile| NumericProfile {
        provider: Provider::Cpu,
        precision: Precision::Fp32,
        batch: 1,
        ..profile.clone()
    };
    ground(kept) == ground(here)
}

fn read(path: &Path) -> Result<Kept, ModelError> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| ModelError::Io {
            doing: "reading",
            path: path.to_owned(),
            source: error.into(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Kept::default()),
        Err(error) => Err(ModelError::io("reading", path)(error)),
    }
}

fn measure(
    store: &ModelStore,
    hardware: &NumericProfile,
    device: &DeviceKind,
    runtime_folder: &Path,
) -> Result<Choice, ModelError> {
    let mut reference: Option<Vec<Vec<f32>>> = None;
    let mut measured: Vec<Measurement> = Vec::new();
    let mut last_failure = None;
    for offer in device::offers(device, runtime_folder) {
        if !offer.offered {
            last_failure = last_failure.or(Some(ModelError::NotOffered {
                provider: offer.provider.to_string(),
                precision: offer.precision.to_string(),
                reason: offer.reason.unwrap_or_default(),
            }));
            continue;
        }
        for &batch in batches(device) {
            let profile =
                NumericProfile { provider: offer.provider, precision: offer.precision, batch, ..hardware.clone() };
            match try_out(store, &profile, device, &mut reference) {
                Ok(measurement) => measured.push(measurement),
                Err(error) => {
                    tracing::warn!(%error, "{} {} is left out", offer.provider, offer.precision);
                    last_failure = Some(error);
                }
            }
        }
    }
    let winner = winner(&measured).cloned();
    match (winner, last_failure) {
        (Some(winner), _) => {
            let profile = NumericProfile {
                provider: winner.provider,
                precision: winner.precision,
                batch: winner.batch,
                ..hardware.clone()
            };
            Ok(Choice { profile, measured })
        }
        (None, Some(failure)) => Err(failure),
        (None, None) => Err(ModelError::inference("choosing a profile", &hardware.model, "nothing is offered")),
    }
}

/// On a processor work grows with the pictures, so batches gain nothing; on GPUs they do.
fn batches(device: &DeviceKind) -> &'static [usize] {
    match device {
        DeviceKind::Cpu { .. } => &[1],
        DeviceKind::Cuda { .. } => &[1, 2, 4, 8],
    }
}

fn try_out(
    store: &ModelStore,
    profile: &NumericProfile,
    device: &DeviceKind,
    reference: &mut Option<Vec<Vec<f32>>>,
) -> Result<Measurement, ModelError> {
    let mut model = Loaded::load(store, profile, device)?;
    let (width, height) = trial_size(store.entry(&profile.model)?.family);
    let picture = canary::picture(width, height);
    let outputs = model.raw(&picture)?;
    let likeness = match reference {
        Some(reference) => likeness(reference, &outputs),
        None => f64::INFINITY,
    };
    if reference.is_none() && profile.precision == Precision::Fp32 {
        *reference = Some(outputs);
    }
    let begun = Instant::now();
    let mut quickest = Duration::MAX;
    for _ in 0..RUNS {
        let start = Instant::now();
        model.raw(&picture)?;
        quickest = quickest.min(start.elapsed());
        if begun.elapsed() > ENOUGH {
            break;
        }
    }
    Ok(Measurement {
        provider: profile.provider,
        precision: profile.precision,
        batch: profile.batch,
        milliseconds_per_picture: quickest.as_secs_f64() * 1000.0 / profile.batch as f64,
        psnr_db: likeness.is_finite().then_some(likeness),
        eligible: likeness >= LEAST_PRECISION_DB,
    })
}

/// Large enough that the feature maps do not fit into a core's cache, as in real work, and small enough that a trial
/// takes a second.
fn trial_size(family: Family) -> (u32, u32) {
    match family {
        Family::Srvgg => (160, 120),
        Family::Rrdb => (64, 48),
        Family::Nanodet | Family::Yolov8 => (640, 360),
    }
}

/// The quickest eligible candidate, unless the first one (fp32) is about as quick.
fn winner(measured: &[Measurement]) -> Option<&Measurement> {
    let mut eligible = measured.iter().filter(|candidate| candidate.eligible);
    let first = eligible.next()?;
    let time = |candidate: &&Measurement| candidate.milliseconds_per_picture;
    let quickest = eligible.min_by(|a, b| time(a).total_cmp(&time(b)));
    match quickest {
        Some(rival) if time(&rival) < time(&first) * WORTH_CHANGING => Some(rival),
        _ => Some(first),
    }
}

/// The least PSNR over a network's outputs, each by its own peak.
pub(crate) fn likeness(reference: &[Vec<f32>], outputs: &[Vec<f32>]) -> f64 {
    let pairs = reference.iter().zip(outputs);
    pairs.map(|(wanted, got)| canary::psnr(wanted, got, canary::peak(wanted))).fold(f64::INFINITY, f64::min)
}

/// A model of either kind.
enum Loaded {
    Upscaler(Box<Upscaler>),
    Detector(Box<Detector>),
}

impl Loaded {
    fn load(store: &ModelStore, profile: &NumericProfile, device: &DeviceKind) -> Result<Self, ModelError> {
        Ok(match store.kind(&profile.model)? {
            ModelKind::Upscaler => Self::Upscaler(Box::new(Upscaler::load(store, profile, device)?)),
            ModelKind::Detector => Self::Detector(Box::new(Detector::load(store, profile, device)?)),
        })
    }

    fn raw(&mut self, picture: &RgbImage) -> Result<Vec<Vec<f32>>, ModelError> {
        match self {
            Self::Upscaler(upscaler) => upscaler.raw(picture),
            Self::Detector(detector) => detector.raw(picture),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measurement(precision: Precision, milliseconds: f64, eligible: bool) -> Measurement {
        Measurement {
            provider: Provider::Cpu,
            precision,
            batch: 1,
            milliseconds_per_picture: milliseconds,
            psnr_db: None,
            eligible,
        }
    }

    #[test]
    fn the_quickest_sound_candidate_wins_if_it_is_worth_it() {
        let exact = measurement(Precision::Fp32, 100.0, true);
        let chosen = |rival: Measurement| winner(&[exact.clone(), rival]).unwrap().precision;
        assert_eq!(chosen(measurement(Precision::Bf16, 50.0, true)), Precision::Bf16);
        assert_eq!(chosen(measurement(Precision::Bf16, 97.0, true)), Precision::Fp32);
        assert_eq!(chosen(measurement(Precision::Bf16, 50.0, false)), Precision::Fp32);
        assert!(winner(&[]).is_none());
    }

    #[test]
    fn likeness_is_that_of_the_worst_output() {
        let reference = [vec![0.0, 1.0], vec![0.0, 10.0]];
        let outputs = [vec![0.0, 1.0], vec![1.0, 9.0]];
        assert!((likeness(&reference, &outputs) - 20.0).abs() < 1e-9);
    }
}
