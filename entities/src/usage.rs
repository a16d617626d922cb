//! Accounts: what each tenant used, of which devices, for which export.
//!
//! An entry is written once, in the transaction that makes its work count: with the commit of a segment
//! ([`crate::segments::commit`]) or with the boxes of a single frame ([`record_frame`]). What is thrown away, such as a
//! late twin or a failed try, is not the tenant's. Entries stay when an export is deleted.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ExprTrait, FromQueryResult, JoinType, QueryOrder, QuerySelect, Select, entity::prelude::*,
    sea_query::NullOrdering,
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    Database, ExportId, Result, TenantId, Transaction,
    detections::{self, NewDetection},
    error::Doing,
    jobs, now,
    rows::{
        usage::{ActiveModel, Column, Entity},
        usage_device,
    },
};

pub use crate::rows::usage::Work;

/// One device's part in a piece of work.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceTime {
    /// Its id.
    pub device: String,
    /// Frames it inferred.
    pub frames: i64,
    /// Its time, in seconds.
    pub device_seconds: f64,
    /// The price of that.
    pub cost: f64,
}

/// A piece of work that counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry<'a> {
    pub tenant: TenantId,
    pub export: Option<ExportId>,
    pub work: Work,
    pub index: i32,
    pub frames: i64,
    pub frames_inferred: i64,
    pub bytes: i64,
    pub device_seconds: f64,
    pub devices: &'a [DeviceTime],
}

pub(crate) async fn record(tx: &Transaction, entry: &Entry<'_>) -> Result<()> {
    let id = Uuid::now_v7();
    let row = ActiveModel {
        id: Set(id),
        tenant_id: Set(entry.tenant),
        export_id: Set(entry.export),
        work: Set(entry.work),
        index: Set(entry.index),
        frames: Set(entry.frames),
        frames_inferred: Set(entry.frames_inferred),
        bytes: Set(entry.bytes),
        device_seconds: Set(entry.device_seconds),
        cost: Set(entry.devices.iter().fold(0.0, |sum, device| sum + device.cost)),
        at: Set(now()),
    };
    Entity::insert(row).exec_without_returning(tx.raw()).await.doing("recording what was used")?;
    let devices = entry.devices.iter().map(|device| usage_device::ActiveModel {
        usage_id: Set(id),
        device: Set(device.device.clone()),
        frames: Set(device.frames),
        device_seconds: Set(device.device_seconds),
        cost: Set(device.cost),
    });
    if !entry.devices.is_empty() {
        let insert = usage_device::Entity::insert_many(devices);
        insert.exec_without_returning(tx.raw()).await.doing("recording whose device time was used")?;
    }
    Ok(())
}

/// Stores what was found in one frame outside an export, and what that took, as one. False, and nothing stored, when
/// the subject is not the tenant's.
pub async fn record_frame(db: &Database, tenant: TenantId, found: &NewDetection, took: &DeviceTime) -> Result<bool> {
    let tx = db.begin().await?;
    if !found.subject.belongs_to(tenant, tx.raw()).await? {
        return Ok(false);
    }
    detections::put_in(&tx, tenant, std::slice::from_ref(found)).await?;
    let entry = Entry {
        tenant,
        export: None,
        work: Work::Frame,
        index: 0,
        frames: 1,
        frames_inferred: took.frames,
        bytes: 0,
        device_seconds: took.device_seconds,
        devices: std::slice::from_ref(took),
    };
    record(&tx, &entry).await?;
    jobs::charge_tenant(&tx, tenant, took.device_seconds).await?;
    tx.commit().await?;
    Ok(true)
}

/// A time range, half open; None is without an end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Period {
    /// The first instant in it.
    pub from: Option<DateTime<Utc>>,
    /// The first instant after it.
    pub to: Option<DateTime<Utc>>,
}

/// Sums over entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, FromQueryResult, ToSchema)]
pub struct Totals {
    /// Segments, sounds and single frames.
    pub entries: i64,
    /// Output frames.
    pub frames: i64,
    /// Frames that ran through a model.
    pub frames_inferred: i64,
    /// Bytes stored.
    pub bytes: i64,
    /// Device time, in seconds.
    pub device_seconds: f64,
    /// What that cost.
    pub cost: f64,
}

/// One device's sums.
#[derive(Debug, Clone, PartialEq, Serialize, FromQueryResult, ToSchema)]
pub struct DeviceTotals {
    /// The device.
    pub device: String,
    /// Frames it inferred.
    pub frames: i64,
    /// Its time, in seconds.
    pub device_seconds: f64,
    /// What that cost.
    pub cost: f64,
}

/// One export's sums.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ExportTotals {
    /// The export, which may have been deleted since; none for single frames.
    pub export_id: Option<ExportId>,
    /// Its sums.
    #[serde(flatten)]
    pub totals: Totals,
}

/// One tenant's sums.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TenantTotals {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Its sums.
    #[serde(flatten)]
    pub totals: Totals,
}

/// What a tenant used in `period`.
pub async fn of_tenant(db: &Database, tenant: TenantId, period: Period) -> Result<Totals> {
    let rows = summed(within(Entity::find().filter(Column::TenantId.eq(tenant)), period));
    let totals = rows.into_model::<Totals>().one(db.reader()).await;
    Ok(totals.doing("adding up what a tenant used")?.unwrap_or_default())
}

/// What a tenant used in `period` by device, in the order of their ids.
pub async fn devices_of_tenant(db: &Database, tenant: TenantId, period: Period) -> Result<Vec<DeviceTotals>> {
    use usage_device::Column as Share;
    let join = usage_device::Entity::belongs_to(Entity).from(Share::UsageId).to(Column::Id).into();
    let mut rows = usage_device::Entity::find()
        .join(JoinType::InnerJoin, join)
        .filter(Column::TenantId.eq(tenant))
        .select_only()
        .column(Share::Device)
        .column_as(Share::Frames.sum().cast_as("bigint"), "frames")
        .column_as(Share::DeviceSeconds.sum(), "device_seconds")
        .column_as(Share::Cost.sum(), "cost")
        .group_by(Share::Device)
        .order_by_asc(Share::Device);
    if let Some(from) = period.from {
        rows = rows.filter(Column::At.gte(from));
    }
    if let Some(to) = period.to {
        rows = rows.filter(Column::At.lt(to));
    }
    rows.into_model().all(db.reader()).await.doing("adding up device time")
}

/// What a tenant used in `period` by export, newest first, single frames last; at most `limit`, after `after`.
pub async fn exports_of_tenant(
    db: &Database,
    tenant: TenantId,
    period: Period,
    after: Option<ExportId>,
    limit: u64,
) -> Result<Vec<ExportTotals>> {
    let mut rows = summed(within(Entity::find().filter(Column::TenantId.eq(tenant)), period))
        .column(Column::ExportId)
        .group_by(Column::ExportId)
        .order_by_with_nulls(Column::ExportId, sea_orm::Order::Desc, NullOrdering::Last)
        .limit(limit);
    if let Some(after) = after {
        rows = rows.filter(Column::ExportId.lt(after).or(Column::ExportId.is_null()));
    }
    let rows = rows.into_model::<ByExport>().all(db.reader()).await.doing("adding up what exports used")?;
    Ok(rows.into_iter().map(|row| ExportTotals { export_id: row.export_id, totals: row.totals }).collect())
}

/// What each tenant used in `period`, by id.
pub async fn by_tenant(db: &Database, period: Period) -> Result<Vec<TenantTotals>> {
    let rows = summed(within(Entity::find(), period))
        .column(Column::TenantId)
        .group_by(Column::TenantId)
        .order_by_asc(Column::TenantId);
    let rows = rows.into_model::<ByTenant>().all(db.reader()).await.doing("adding up what tenants used")?;
    Ok(rows.into_iter().map(|row| TenantTotals { tenant_id: row.tenant_id, totals: row.totals }).collect())
}

#[derive(FromQueryResult)]
struct ByExport {
    export_id: Option<ExportId>,
    #[sea_orm(nested)]
    totals: Totals,
}

#[derive(FromQueryResult)]
struct ByTenant {
    tenant_id: TenantId,
    #[sea_orm(nested)]
    totals: Totals,
}

fn within(mut rows: Select<Entity>, period: Period) -> Select<Entity> {
    if let Some(from) = period.from {
        rows = rows.filter(Column::At.gte(from));
    }
    if let Some(to) = period.to {
        rows = rows.filter(Column::At.lt(to));
    }
    rows
}

/// Sums, with 0 where there is no entry. Sums of big integers are numeric on PostgreSQL: they are cast back.
fn summed(rows: Select<Entity>) -> Select<Entity> {
    use sea_orm::sea_query::Func;
    let whole = |column: Column| Expr::expr(Func::coalesce([column.sum(), Expr::val(0)])).cast_as("bigint");
    let real = |column: Column| Expr::expr(Func::coalesce([column.sum(), Expr::val(0.0)])).cast_as("double precision");
    rows.select_only()
        .column_as(Column::Id.count(), "entries")
        .column_as(whole(Column::Frames), "frames")
        .column_as(whole(Column::FramesInferred), "frames_inferred")
        .column_as(whole(Column::Bytes), "bytes")
        .column_as(real(Column::DeviceSeconds), "device_seconds")
        .column_as(real(Column::Cost), "cost")
}
