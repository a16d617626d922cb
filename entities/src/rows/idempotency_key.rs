use sea_orm::entity::prelude::*;

use crate::{ExportId, TenantId};

/// A key that a client gave to a request, and what the request began.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency_keys")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// Of the request's body, in lower-case hexadecimal.
    pub request_sha256: String,
    pub export_id: ExportId,
    pub created_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
