use sea_orm::entity::prelude::*;

use crate::{AuditId, TenantId};

/// Something that was administered.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "audit")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: AuditId,
    pub at: DateTimeUtc,
    /// Whose thing it was; none for the deployment's.
    pub tenant_id: Option<TenantId>,
    /// Who did it: `user ID`, `key ID`, `command line`.
    pub actor: String,
    /// What was done, such as `tenant.change`.
    pub action: String,
    /// What it was done to: an id or a name.
    pub target: String,
    /// What changed; never a secret.
    pub details: Json,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
