use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{ExportId, TenantId};

/// What one piece of finished work used. Never changed, never deleted.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "usage")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub tenant_id: TenantId,
    /// None for a single frame.
    pub export_id: Option<ExportId>,
    pub work: Work,
    /// Which segment; 0 for other work.
    pub index: i32,
    /// Output frames.
    pub frames: i64,
    /// Frames that ran through a model.
    pub frames_inferred: i64,
    /// Bytes stored.
    pub bytes: i64,
    pub device_seconds: f64,
    pub cost: f64,
    pub at: DateTimeUtc,
}

/// What was done.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, DeriveDisplay, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Work {
    /// A segment was rendered.
    Segment,
    /// The sound of an export was rendered.
    Audio,
    /// Detection ran on one frame, for a client that waited.
    Frame,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
