use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::ExportId;

/// A finished segment.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "segments")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub export_id: ExportId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: SegmentKind,
    /// Counts from 0 within its kind.
    #[sea_orm(primary_key, auto_increment = false)]
    pub index: i32,
    /// Output frame it begins at.
    pub first_frame: i64,
    /// Output frames it has.
    pub frames: i64,
    pub storage_key: String,
    pub bytes: i64,
    /// Of the file, in lower-case hexadecimal.
    pub sha256: String,
    /// Device time it took.
    pub device_seconds: f64,
    /// Frames that ran through a model.
    pub frames_inferred: i64,
    pub committed_at: DateTimeUtc,
}

/// What a segment holds.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, DeriveDisplay, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum SegmentKind {
    /// Pictures.
    Video,
    /// The whole sound.
    Audio,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
