use sea_orm::entity::prelude::*;

use crate::VideoId;

/// A video's frame index; a table of its own, so that lists of videos do not read it.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "frame_indexes")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub video_id: VideoId,
    pub bytes: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
