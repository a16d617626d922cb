use sea_orm::entity::prelude::*;

use crate::{ReelId, TenantId, UserId};

/// Clips in order with their edits: what people work on.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "reels")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ReelId,
    pub tenant_id: TenantId,
    /// Counts from 1; grows with each change.
    pub version: i64,
    pub name: String,
    /// A framing spec without its kind.
    pub framing: Option<Json>,
    /// An overlay spec without its kind.
    pub overlay: Option<Json>,
    pub created_at: DateTimeUtc,
    pub updated_at: DateTimeUtc,
    pub created_by: Option<UserId>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
