use sea_orm::entity::prelude::*;

use crate::{ExportId, VideoId};

/// That an export reads a video.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "export_sources")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub export_id: ExportId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub video_id: VideoId,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
