//! The folder of models: `manifest.toml`, `weights/`, `runtime/` and, at set-up, `download/`.

use crate::checksum::read_verified;
use crate::manifest::{Manifest, ModelEntry};
use crate::{ModelError, ModelKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An opened manifest and the folders it refers to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ModelStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    manifest: Manifest,
    weights: PathBuf,
    /// The folder that holds `runtime/` and `download/`: the manifest's own.
    root: PathBuf,
}

impl ModelStore {
    /// Finds the weights folder without help from the environment: `configured` (such as `models/weights`) as it
    /// stands, or under any folder from the working folder or the executable upwards. Weights may not be baked yet, so
    /// what counts is a `manifest.toml` in the folder or beside it.
    pub fn locate(configured: &Path) -> Result<PathBuf, ModelError> {
        let working = std::env::current_dir().ok();
        let executable = std::env::current_exe().ok();
        let starts = [working, executable];
        let upwards = starts.iter().flatten().flat_map(|start| start.ancestors());
        // Joining an absolute `configured` gives `configured` itself.
        upwards
            .map(|folder| folder.join(configured))
            .find(|weights| manifest_path(weights).is_some())
            .ok_or_else(|| ModelError::NotFound { configured: configured.to_owned() })
    }

    /// Opens the store whose ONNX files are (or will be) in `weights`. The manifest is `weights/manifest.toml` or,
    /// as in this repository, the one beside the folder.
    pub fn open(weights: &Path) -> Result<Self, ModelError> {
        let path = manifest_path(weights).ok_or_else(|| ModelError::NotFound { configured: weights.to_owned() })?;
        let root = path.parent().expect("a manifest's path ends in a file name").to_owned();
        let inner = Inner { manifest: Manifest::read(&path)?, weights: weights.to_owned(), root };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The folder that it was opened with.
    pub fn weights(&self) -> &Path {
        &self.inner.weights
    }

    /// All models of the manifest, in its order.
    pub fn names(&self) -> Vec<&str> {
        self.entries().iter().map(|model| model.name.as_str()).collect()
    }

    /// What a model is for.
    pub fn kind(&self, model: &str) -> Result<ModelKind, ModelError> {
        Ok(self.entry(model)?.family.kind())
    }

    /// Output side over input side of an upscaler (1 for a detector).
    pub fn scale(&self, model: &str) -> Result<u32, ModelError> {
        let entry = self.entry(model)?;
        Ok(match entry.family.kind() {
            ModelKind::Upscaler => entry.scale,
            ModelKind::Detector => 1,
        })
    }

    /// The ONNX Runtime library, `runtime/libonnxruntime.so*` beside the manifest.
    pub fn runtime_library(&self) -> Result<PathBuf, ModelError> {
        let folder = self.inner.root.join("runtime");
        let missing = |detail: &str| ModelError::Runtime { path: folder.clone(), detail: detail.to_owned() };
        let files = std::fs::read_dir(&folder).map_err(|error| missing(&error.to_string()))?;
        let mut libraries: Vec<PathBuf> = files
            .filter_map(|file| Some(file.ok()?.path()))
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libonnxruntime.so")))
            .collect();
        libraries.sort();
        // The longest name carries the full version; shorter ones are links to it.
        libraries.pop().ok_or_else(|| missing("no libonnxruntime.so* there"))
    }

    pub(crate) fn download_dir(&self) -> PathBuf {
        self.inner.root.join("download")
    }

    pub(crate) fn entries(&self) -> &[ModelEntry] {
        &self.inner.manifest.models
    }

    pub(crate) fn entry(&self, model: &str) -> Result<&ModelEntry, ModelError> {
        self.entries()
            .iter()
            .find(|entry| entry.name == model)
            .ok_or_else(|| ModelError::UnknownModel { name: model.to_owned(), known: self.known() })
    }

    pub(crate) fn path(&self, entry: &ModelEntry) -> PathBuf {
        self.inner.weights.join(&entry.file)
    }

    /// The bytes of a model's ONNX file, checked against the manifest.
    pub(crate) fn read(&self, entry: &ModelEntry) -> Result<Vec<u8>, ModelError> {
        read_verified(&self.path(entry), &entry.sha256)
    }

    fn known(&self) -> Vec<String> {
        self.entries().iter().map(|model| model.name.clone()).collect()
    }
}

fn manifest_path(weights: &Path) -> Option<PathBuf> {
    let inside = weights.join("manifest.toml");
    let beside = weights.parent()?.join("manifest.toml");
    [inside, beside].into_iter().find(|path| path.is_file())
}
