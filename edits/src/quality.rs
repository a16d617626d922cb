//! How much of a crop an upscaler is fed: part of a spec, of what a kind needs, and of a plan.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How much of a crop the model is fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// `best` on a GPU, else `balanced`; the deployment decides when the export is accepted.
    Auto,
    /// The native crop.
    Best,
    /// At most half the output a side.
    Balanced,
    /// At most a quarter of the output a side, for previews.
    Draft,
}
