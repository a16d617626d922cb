use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ExportId, JobId, TenantId};

/// A unit of durable work. A claimed one is also the token that fences its work.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "jobs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: JobId,
    pub export_id: ExportId,
    pub tenant_id: TenantId,
    pub kind: JobKind,
    /// Which segment; 0 for the other kinds.
    pub index: i32,
    pub state: JobState,
    /// The tenant's place in the fair order when it was claimed; 0 before.
    pub tag: f64,
    /// Estimated device-seconds.
    pub cost: f64,
    /// Raised by every claim; part of the fence.
    pub attempt: i32,
    /// Errors so far; 3 and the job is dead.
    pub failures: i32,
    /// Crashes of this job; of a coordinator, since its export last committed a part. 20 and the job is dead.
    pub crashes: i32,
    /// Not claimed before this time.
    pub run_at: DateTimeUtc,
    /// Who holds it.
    pub owner: Option<String>,
    pub lease_until: Option<DateTimeUtc>,
    /// The last error, or why the job is dead.
    pub error: Option<String>,
    /// What kind of error that is, for programs.
    pub error_code: Option<String>,
}

/// What a job does.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, DeriveDisplay, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Plans an export, watches its segments, assembles and publishes.
    Coordinate,
    /// Renders one segment.
    Segment,
    /// Renders the sound.
    Audio,
}

/// Where a job is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, DeriveDisplay, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits to be claimed.
    Ready,
    /// Held by an owner until its lease expires.
    Running,
    /// Finished.
    Done,
    /// Given up, with the reason in `error`.
    Dead,
    /// Its export was cancelled or has failed.
    Cancelled,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
