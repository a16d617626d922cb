use sea_orm::entity::prelude::*;

use crate::{TenantId, VideoId};

/// An unfinished upload.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "uploads")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: VideoId,
    pub tenant_id: TenantId,
    /// Bytes it will have.
    pub length: i64,
    /// Bytes it has.
    pub received: i64,
    /// What the client said about it (tus `Upload-Metadata`, decoded).
    pub metadata: Json,
    pub expires_at: DateTimeUtc,
    pub created_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
