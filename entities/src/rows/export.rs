use std::fmt;
use std::str::FromStr;

use edits::ExportKind;
use edits::spec::UnknownKind;
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ExportId, ReelId, TenantId, UserId};

/// A request to render something. What was asked for is in [`super::export_spec`].
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "exports")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ExportId,
    pub tenant_id: TenantId,
    pub kind: KindColumn,
    pub state: ExportState,
    /// The numeric profile, fixed at acceptance; none when nothing is inferred.
    pub profile: Option<Json>,
    /// Counts from 1.
    pub attempt: i32,
    /// 0..1, never goes back.
    pub progress: f64,
    /// Output frames of committed segments.
    pub frames_done: i64,
    pub frames_total: i64,
    /// Frames of committed segments that ran through a model.
    pub frames_inferred: i64,
    pub message: String,
    /// Array of strings.
    pub warnings: Json,
    /// Why it failed, as a problem object.
    pub problem: Option<Json>,
    /// Device time of committed segments, in seconds.
    pub device_seconds: f64,
    pub cost: f64,
    /// Device time it was expected to take when it was accepted.
    pub estimated_device_seconds: Option<f64>,
    /// Wall time it was expected to take then, alone on the node.
    pub estimated_seconds: Option<f64>,
    pub estimated_cost: Option<f64>,
    /// Made with a simulated device.
    pub simulated: bool,
    /// The final report.
    pub report: Option<Json>,
    pub result_key: Option<String>,
    pub result_bytes: Option<i64>,
    pub result_etag: Option<String>,
    pub created_at: DateTimeUtc,
    /// When its coordinator first began.
    pub started_at: Option<DateTimeUtc>,
    pub finished_at: Option<DateTimeUtc>,
    pub created_by: Option<UserId>,
    /// The reel whose edits were copied in, and its version then.
    pub reel_id: Option<ReelId>,
    pub reel_version: Option<i64>,
}

/// An [`ExportKind`] as its column holds it: by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, DeriveValueType)]
#[sea_orm(value_type = "String")]
pub struct KindColumn(pub ExportKind);

impl fmt::Display for KindColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for KindColumn {
    type Err = UnknownKind;

    fn from_str(name: &str) -> std::result::Result<Self, UnknownKind> {
        name.parse().map(Self)
    }
}

/// Where an export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, Serialize, Deserialize, ToSchema)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum ExportState {
    /// Accepted; no coordinator has begun.
    Queued,
    /// A coordinator plans it.
    Preparing,
    /// Segments are rendered.
    Rendering,
    /// Segments are joined.
    Assembling,
    /// The result is stored.
    Publishing,
    /// The result is there.
    Complete,
    /// It ended with a problem.
    Failed,
    /// Ended by a user.
    Cancelled,
}

impl ExportState {
    /// The states before an end, in their order.
    pub const UNFINISHED: [Self; 5] =
        [Self::Queued, Self::Preparing, Self::Rendering, Self::Assembling, Self::Publishing];

    /// Is it an end, after which nothing changes?
    pub fn is_terminal(self) -> bool {
        !Self::UNFINISHED.contains(&self)
    }
}

/// As the API and the database spell it.
impl fmt::Display for ExportState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_value())
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

#[cfg(test)]
mod tests {
    use sea_orm::Iterable;

    use super::*;

    #[test]
    fn a_state_is_displayed_as_the_api_spells_it() {
        for state in ExportState::iter() {
            assert_eq!(serde_json::json!(state), state.to_string());
        }
        assert_eq!(ExportState::Rendering.to_string(), "rendering");
    }
}
