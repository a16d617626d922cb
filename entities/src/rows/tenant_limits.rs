use sea_orm::entity::prelude::*;

use crate::TenantId;

/// Limits of one tenant that differ from the deployment's; a null is as everywhere.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tenant_limits")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    /// Exports at work at once.
    pub concurrent_exports: Option<i64>,
    /// Exports waiting or at work.
    pub queued_exports: Option<i64>,
    /// Single frames in detection at the same time.
    pub interactive_frames: Option<i64>,
    /// Bytes of open uploads, videos and results.
    pub storage_bytes: Option<i64>,
    /// Bytes of one upload.
    pub upload_bytes: Option<i64>,
    /// Requests a second; 0: unlimited.
    pub requests_per_second: Option<i64>,
    /// WebSockets of one user, open on one node.
    pub sockets_per_user: Option<i64>,
    /// WebSockets of the tenant, open on one node.
    pub sockets_per_tenant: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
