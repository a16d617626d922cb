//! What detections and links belong to.

use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, entity::prelude::*};
use serde::{Deserialize, Serialize};

use crate::{
    ExportId, Result, TenantId, VideoId,
    error::Doing,
    rows::{export, video},
};

pub use crate::rows::detection::SubjectKind;

/// What detections and links belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// A video: boxes in source pixels; the file as uploaded.
    Video(VideoId),
    /// An export: boxes in output pixels; the result.
    Export(ExportId),
}

impl Subject {
    /// Which kind it is.
    pub fn kind(self) -> SubjectKind {
        match self {
            Self::Video(_) => SubjectKind::Video,
            Self::Export(_) => SubjectKind::Export,
        }
    }

    /// The id without its type.
    pub fn uuid(self) -> Uuid {
        match self {
            Self::Video(id) => id.uuid(),
            Self::Export(id) => id.uuid(),
        }
    }

    pub(crate) fn of(kind: SubjectKind, id: Uuid) -> Self {
        match kind {
            SubjectKind::Video => Self::Video(id.into()),
            SubjectKind::Export => Self::Export(id.into()),
        }
    }

    /// Does it exist, and is it this tenant's?
    pub(crate) async fn belongs_to(self, tenant: TenantId, db: &impl ConnectionTrait) -> Result<bool> {
        let count = match self {
            Self::Video(id) => video::Entity::find_by_id(id).filter(video::Column::TenantId.eq(tenant)).count(db).await,
            Self::Export(id) => {
                export::Entity::find_by_id(id).filter(export::Column::TenantId.eq(tenant)).count(db).await
            }
        };
        Ok(count.doing("finding a video or an export")? > 0)
    }
}
