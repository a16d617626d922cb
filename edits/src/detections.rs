//! Detections, as they are stored and as the API returns them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One detected object; `x, y` is its top-left corner, all in pixels of the picture it was found in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DetectedBox {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
    /// How sure the detector is, 0 to 1.
    pub confidence: f32,
    /// What it is: `person`.
    pub label: String,
}

/// All boxes of one frame, by falling confidence; empty when nothing was detected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FrameDetections {
    /// When the frame is shown, in seconds.
    pub time: f64,
    /// Its number, from 0.
    pub frame: u64,
    /// What was found.
    pub boxes: Vec<DetectedBox>,
}
