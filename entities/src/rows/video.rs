use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{TenantId, VideoId};

/// A source file.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "videos")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: VideoId,
    pub tenant_id: TenantId,
    pub name: String,
    pub state: VideoState,
    /// Size of the file.
    pub bytes: i64,
    pub storage_key: String,
    /// What probing found; none until then.
    pub facts: Option<Json>,
    /// Displayed size in pixels.
    pub width: Option<i32>,
    pub height: Option<i32>,
    /// Seconds.
    pub duration: Option<f64>,
    /// Why processing failed, as a problem object.
    pub problem: Option<Json>,
    /// How often the building of its frame index was begun without ending.
    pub index_attempts: i32,
    pub created_at: DateTimeUtc,
}

/// Can a video be used?
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, DeriveDisplay, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum VideoState {
    /// Not yet: its frame index is being built.
    Processing,
    /// Yes.
    Ready,
    /// No: a fault was found while it was processed.
    Failed,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
