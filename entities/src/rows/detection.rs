use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::TenantId;

/// What a model found in one frame.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "detections")]
pub struct Model {
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub subject_kind: SubjectKind,
    #[sea_orm(primary_key, auto_increment = false)]
    pub subject_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub model: String,
    /// Frame number of the subject.
    #[sea_orm(primary_key, auto_increment = false)]
    pub frame: i64,
    /// Seconds of the subject.
    pub time: f64,
    /// Size of the picture the boxes lie in, in pixels.
    pub width: i32,
    pub height: i32,
    /// Array of boxes by falling confidence; empty when nothing was detected.
    pub boxes: Json,
}

/// What kind of thing a row belongs to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, DeriveDisplay, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// A video.
    Video,
    /// An export.
    Export,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
