use sea_orm::entity::prelude::*;

use super::detection::SubjectKind;
use crate::TenantId;

/// Files of a subject that are to be removed.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "file_removals")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub subject_kind: SubjectKind,
    #[sea_orm(primary_key, auto_increment = false)]
    pub subject_id: Uuid,
    pub tenant_id: TenantId,
    /// How often a claimant has tried it.
    pub attempts: i32,
    /// When it may be claimed.
    pub run_at: DateTimeUtc,
    pub created_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
