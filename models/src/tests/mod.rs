//! Tests that run the baked models. They need what scripts/setup puts into `models/download` and `models/runtime`, the
//! `ffmpeg` command, and the footage of Debian's `opencv-doc`; what is missing fails them.

mod accuracy;
mod added;
mod baking;
mod choosing;
mod detection;
mod upscaling;

use crate::{DeviceKind, ModelStore, NumericProfile, Offer, Precision, Provider, bake, device, runtime};
use edits::RgbImage;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const ONE_THREAD: DeviceKind = DeviceKind::Cpu { threads: 1 };
const SMALL_NET: &str = "realesr-animevideov3-x4";
const LARGE_NET: &str = "realesrgan-x4plus";
const DETECTOR: &str = "nanodet-g";

/// The folder of the manifest.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The repository's own store, baked.
fn store() -> &'static ModelStore {
    static STORE: OnceLock<ModelStore> = OnceLock::new();
    STORE.get_or_init(|| {
        let store = ModelStore::open(&root().join("weights")).unwrap();
        bake(&store, None, &mut |_| {}).unwrap();
        store
    })
}

/// A profile for this machine by a provider and precision of choice.
fn profile_in(store: &ModelStore, model: &str, provider: Provider, precision: Precision) -> NumericProfile {
    NumericProfile {
        model: model.to_owned(),
        model_sha256: store.entry(model).unwrap().sha256.clone(),
        provider,
        precision,
        threads: 1,
        batch: 1,
        runtime_version: runtime::version(&store.runtime_library().unwrap()),
        device: ONE_THREAD.name(),
    }
}

fn exact(model: &str) -> NumericProfile {
    profile_in(store(), model, Provider::Cpu, Precision::Fp32)
}

/// What one processor thread offers here.
fn offered() -> Vec<Offer> {
    let library = store().runtime_library().unwrap();
    let offers = device::offers(&ONE_THREAD, library.parent().unwrap());
    offers.into_iter().filter(|offer| offer.offered).collect()
}

/// Decodes one frame of a file by `ffmpeg`, through a filter that gives `width` x `height`.
fn frame(path: &Path, filter: &str, width: u32, height: u32) -> RgbImage {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-vf", filter, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .output()
        .expect("the tests need ffmpeg: apt-get install ffmpeg");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.stdout.len(), (width * height * 3) as usize, "{}: {stderr}", path.display());
    RgbImage { width, height, data: output.stdout }
}

/// A test picture of Ultralytics that scripts/setup unpacks.
fn asset(name: &str) -> PathBuf {
    root().join("download/assets").join(name)
}

/// Frame 400 of `opencv-doc`'s footage: three walkers.
fn walkers(filter: &str, width: u32, height: u32) -> RgbImage {
    let path = Path::new("/usr/share/doc/opencv-doc/examples/data/vtest.avi");
    assert!(path.exists(), "the tests need {}: apt-get install opencv-doc", path.display());
    frame(path, &format!("select=eq(n\\,400){filter}"), width, height)
}

/// Three square cut-outs of people, `side` pixels each.
fn people(side: u32) -> [RgbImage; 3] {
    let crop = |x: u32, y: u32| format!("crop={side}:{side}:{x}:{y}");
    [
        frame(&asset("bus.jpg"), &crop(100, 420), side, side),
        frame(&asset("zidane.jpg"), &crop(800, 120), side, side),
        walkers(&format!(",{}", crop(330, 180)), side, side),
    ]
}
