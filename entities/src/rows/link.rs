use sea_orm::entity::prelude::*;

use super::detection::SubjectKind;
use crate::{LinkId, TenantId};

/// A signed link.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "links")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: LinkId,
    pub tenant_id: TenantId,
    pub subject_kind: SubjectKind,
    pub subject_id: Uuid,
    /// Sent with `Content-Disposition: attachment`: the browser saves the file instead of playing it.
    pub download: bool,
    pub expires_at: DateTimeUtc,
    pub revoked_at: Option<DateTimeUtc>,
    pub created_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
