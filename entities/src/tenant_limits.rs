//! Limits of single tenants that differ from the deployment's.

use sea_orm::{ActiveValue::Set, entity::prelude::*, sea_query::OnConflict};

use crate::{
    Database, Result, TenantId, Transaction,
    error::Doing,
    rows::tenant_limits::{ActiveModel, Column, Entity, Model},
};

pub use crate::rows::tenant_limits::Model as TenantLimits;

impl TenantLimits {
    /// A tenant for whom everything is as everywhere.
    pub fn none(tenant: TenantId) -> Self {
        Model {
            tenant_id: tenant,
            concurrent_exports: None,
            queued_exports: None,
            interactive_frames: None,
            storage_bytes: None,
            upload_bytes: None,
            requests_per_second: None,
            sockets_per_user: None,
            sockets_per_tenant: None,
        }
    }
}

/// What is different for a tenant.
pub async fn get(db: &Database, tenant: TenantId) -> Result<TenantLimits> {
    find(db.reader(), tenant).await
}

/// [`get`] in a transaction.
pub(crate) async fn get_in(tx: &Transaction, tenant: TenantId) -> Result<TenantLimits> {
    find(tx.raw(), tenant).await
}

async fn find(db: &impl ConnectionTrait, tenant: TenantId) -> Result<TenantLimits> {
    let row = Entity::find_by_id(tenant).one(db).await.doing("reading a tenant's limits")?;
    Ok(row.unwrap_or_else(|| TenantLimits::none(tenant)))
}

/// What is different for each of some tenants; those for whom nothing is are left out.
pub async fn get_many(db: &Database, tenants: &[TenantId]) -> Result<Vec<TenantLimits>> {
    let rows = Entity::find().filter(Column::TenantId.is_in(tenants.iter().copied())).all(db.reader()).await;
    rows.doing("reading tenants' limits")
}

/// Sets all of a tenant's own limits; [`crate::tenants::change`] does.
pub(crate) async fn set_in(tx: &Transaction, limits: &TenantLimits) -> Result<()> {
    let rest = [
        Column::ConcurrentExports,
        Column::QueuedExports,
        Column::InteractiveFrames,
        Column::StorageBytes,
        Column::UploadBytes,
        Column::RequestsPerSecond,
        Column::SocketsPerUser,
        Column::SocketsPerTenant,
    ];
    let row = ActiveModel {
        tenant_id: Set(limits.tenant_id),
        concurrent_exports: Set(limits.concurrent_exports),
        queued_exports: Set(limits.queued_exports),
        interactive_frames: Set(limits.interactive_frames),
        storage_bytes: Set(limits.storage_bytes),
        upload_bytes: Set(limits.upload_bytes),
        requests_per_second: Set(limits.requests_per_second),
        sockets_per_user: Set(limits.sockets_per_user),
        sockets_per_tenant: Set(limits.sockets_per_tenant),
    };
    Entity::insert(row)
        .on_conflict(OnConflict::column(Column::TenantId).update_columns(rest).to_owned())
        .exec_without_returning(tx.raw())
        .await
        .doing("setting a tenant's limits")?;
    Ok(())
}
