use sea_orm::entity::prelude::*;

use crate::{ApiKeyId, TenantId, api_keys::Scope};

/// A credential of a program.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "api_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ApiKeyId,
    pub tenant_id: TenantId,
    /// What its owner calls it.
    pub name: String,
    /// The first characters of its text, by which its owner knows it again.
    pub hint: String,
    /// SHA-256 of its text, in hexadecimal. The text itself is not kept.
    pub sha256: String,
    pub scope: Scope,
    /// When it ends by itself.
    pub expires_at: Option<DateTimeUtc>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTimeUtc>,
    pub revoked_at: Option<DateTimeUtc>,
    pub created_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
