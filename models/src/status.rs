//! What is there, whether it is sound, and what this machine can run it on.

use crate::device::{self, Offer};
use crate::{DeviceKind, Family, ModelError, ModelKind, ModelStore, gpus};
use serde::Serialize;

/// A model of the manifest on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelStatus {
    pub name: String,
    pub family: Family,
    pub kind: ModelKind,
    pub licence: String,
    pub source: String,
    /// The input and output contracts.
    pub input: String,
    pub output: String,
    pub sha256: String,
    /// Its file is there.
    pub present: bool,
    /// Its file has the manifest's sum.
    pub verified: bool,
    /// What is wrong and what to do, if it is not verified.
    pub problem: Option<String>,
    /// Every provider and precision this version supports, and whether this machine has it.
    pub runs_on: Vec<Offer>,
}

/// All models of the manifest, in its order.
pub fn list(store: &ModelStore) -> Vec<ModelStatus> {
    let runs_on = offers(store);
    let status = |entry: &crate::manifest::ModelEntry| {
        let problem = store.read(entry).err();
        ModelStatus {
            name: entry.name.clone(),
            family: entry.family,
            kind: entry.family.kind(),
            licence: entry.licence.clone(),
            source: entry.source.clone(),
            input: entry.input.clone(),
            output: entry.output.clone(),
            sha256: entry.sha256.clone(),
            present: !matches!(problem, Some(ModelError::Missing { .. })),
            verified: problem.is_none(),
            problem: problem.map(|error| error.to_string()),
            runs_on: runs_on.clone(),
        }
    };
    store.entries().iter().map(status).collect()
}

/// Checks every model of the manifest; all problems are given, not just the first.
pub fn verify(store: &ModelStore) -> Result<(), Vec<ModelError>> {
    let problems: Vec<ModelError> = store.entries().iter().filter_map(|entry| store.read(entry).err()).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// The processor's offers and every GPU's; without a GPU, those of the first, with the reasons against.
fn offers(store: &ModelStore) -> Vec<Offer> {
    let indices: Vec<u32> = match gpus() {
        found if found.is_empty() => vec![0],
        found => found.into_iter().map(|gpu| gpu.index).collect(),
    };
    let cpu = DeviceKind::Cpu { threads: 1 };
    let devices = std::iter::once(cpu).chain(indices.into_iter().map(|index| DeviceKind::Cuda { index }));
    match store.runtime_library() {
        Ok(library) => {
            let folder = library.parent().expect("a library lies in a folder");
            devices.flat_map(|device| device::offers(&device, folder)).collect()
        }
        // Without ONNX Runtime nothing runs, and that is the reason to show.
        Err(error) => devices
            .flat_map(|device| device::offers(&device, std::path::Path::new("")))
            .map(|offer| Offer { offered: false, reason: Some(format!("not on this machine: {error}")), ..offer })
            .collect(),
    }
}
