//! Bakes the models, checks them, and measures what this machine makes of them.
//!
//! ```text
//! cargo run --release -p models --example models -- bake
//! cargo run --release -p models --example models -- canary MODEL        # samples for the manifest
//! cargo run --release -p models --example models -- time MODEL 240x136 405x720
//! ```

use edits::RgbImage;
use models::{DeviceKind, ModelStore, NumericProfile, Precision, Provider, Upscaler, bake, canary_answer, list};
use std::error::Error;
use std::path::Path;
use std::time::Instant;

const ONE_THREAD: DeviceKind = DeviceKind::Cpu { threads: 1 };

fn main() -> Result<(), Box<dyn Error>> {
    let store = ModelStore::open(&ModelStore::locate(Path::new("models/weights"))?)?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["bake"] => {
            bake(&store, None, &mut |line| println!("{line}"))?;
        }
        ["canary", model] => {
            let samples = canary_answer(&store, &profile(&store, model, Provider::Cpu, Precision::Fp32)?, &ONE_THREAD)?;
            let samples: Vec<String> = samples.iter().map(|sample| format!("{sample:.4}")).collect();
            println!("canary = [{}]", samples.join(", "));
        }
        ["time", model, ref sizes @ ..] => {
            for size in sizes {
                let (width, height) = size.split_once('x').ok_or("sizes are WIDTHxHEIGHT")?;
                time(&store, model, width.parse()?, height.parse()?)?;
            }
        }
        _ => return Err("usage: models bake | canary MODEL | time MODEL WIDTHxHEIGHT…".into()),
    }
    Ok(())
}

/// A fixed profile, for comparing providers that a choice would rank.
fn profile(
    store: &ModelStore,
    model: &str,
    provider: Provider,
    precision: Precision,
) -> Result<NumericProfile, Box<dyn Error>> {
    let status = list(store).into_iter().find(|status| status.name == model).ok_or("there is no such model")?;
    let library = store.runtime_library()?.canonicalize()?;
    let name = library.to_string_lossy().into_owned();
    Ok(NumericProfile {
        model: model.to_owned(),
        model_sha256: status.sha256,
        provider,
        precision,
        threads: 1,
        batch: 1,
        runtime_version: name.split_once(".so.").ok_or("ONNX Runtime has no version")?.1.to_owned(),
        device: ONE_THREAD.name(),
    })
}

/// Times an upscaler on one thread, all offered providers in turn, five rounds; prints the medians.
fn time(store: &ModelStore, model: &str, width: u32, height: u32) -> Result<(), Box<dyn Error>> {
    let offers = list(store).into_iter().find(|status| status.name == model).ok_or("there is no such model")?.runs_on;
    let mut loaded = Vec::new();
    for offer in offers.into_iter().filter(|offer| offer.offered) {
        let profile = profile(store, model, offer.provider, offer.precision)?;
        loaded.push((offer, Upscaler::load(store, &profile, &ONE_THREAD)?, Vec::new()));
    }
    let image = RgbImage::new(width, height);
    for _ in 0..5 {
        for (_, upscaler, milliseconds) in &mut loaded {
            upscaler.warm(width, height)?;
            let start = Instant::now();
            upscaler.infer(&[&image])?;
            milliseconds.push(start.elapsed().as_secs_f64() * 1000.0);
        }
    }
    for (offer, _, mut milliseconds) in loaded {
        milliseconds.sort_by(f64::total_cmp);
        let median = milliseconds[milliseconds.len() / 2];
        println!("{model} {width}x{height} {} {}: {median:.1} ms", offer.provider, offer.precision);
    }
    Ok(())
}
