use sea_orm::entity::prelude::*;

use crate::{ClipId, TenantId, UserId, VideoId};

/// A named time range of a video.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "clips")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ClipId,
    pub tenant_id: TenantId,
    pub video_id: VideoId,
    /// Counts from 1; grows with each change.
    pub version: i64,
    pub name: String,
    /// Source seconds.
    pub start: f64,
    pub end: f64,
    pub notes: String,
    /// 1 to 5.
    pub rating: Option<i32>,
    /// Array of strings.
    pub tags: Json,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub created_by: Option<UserId>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
