//! Start-time fair queueing over tenants (Goyal, Vin and Cheng, 1996), in device-seconds.
//!
//! A tenant's tag is what it was given so far, in device-seconds over its weight. Of the parts that wait (segments and
//! sounds) one of the tenant with the least tag is claimed, of its oldest export first. The claim charges the job's
//! estimated cost, once; the commit of a segment corrects it to the device time it took. So tenants with work waiting
//! share the devices by weight whatever they have enqueued and however wrong the estimates are, and a changed weight
//! holds with the next claim. What needs no device keeps its estimate.
//!
//! Virtual time is the greatest tag at which something in service was claimed; with nothing in service the least tag
//! of the waiting tenants; with none waiting either, the greatest tag there is. A tenant that begins to wait starts at
//! virtual time, so that it accumulates no share while idle.
//!
//! Coordinators use no device and have an order of their own: the tenant with the fewest at work for its weight, its
//! oldest export first. A tenant with fifty exports delays the planning of no other tenant's.

use std::collections::HashMap;

use sea_orm::{
    ActiveValue::Set,
    ExprTrait, JoinType, QueryOrder, QuerySelect,
    entity::prelude::*,
    sea_query::{Func, LockBehavior, LockType, OnConflict, Query},
};

use super::{Job, JobKind, JobState, NewJob, Wanted, wakeups};
use crate::{
    ExportId, JobId, Result, TenantId, Transaction,
    error::Doing,
    now,
    rows::{
        fair_share,
        job::{ActiveModel, Column, Entity},
        tenant, tenant_limits,
    },
};

/// Rows of one insert; 16 columns each stay far below both databases' bound on variables.
const CHUNK: usize = 500;
/// Least weight: below it tags would run away.
const MIN_WEIGHT: f64 = 1e-3;

/// Enqueues one job.
pub async fn enqueue(tx: &Transaction, new: &NewJob) -> Result<Job> {
    let mut jobs = enqueue_all(tx, std::slice::from_ref(new)).await?;
    Ok(jobs.pop().expect("one job was given, so one was made"))
}

/// Enqueues jobs in their order. All must be of one tenant; what is of another tenant is an error of the caller.
pub async fn enqueue_all(tx: &Transaction, new: &[NewJob]) -> Result<Vec<Job>> {
    let Some(tenant) = new.first().map(|job| job.tenant) else {
        return Ok(Vec::new());
    };
    assert!(new.iter().all(|job| job.tenant == tenant), "jobs of two tenants cannot be enqueued as one");
    let parts = new.iter().find(|job| job.kind != JobKind::Coordinate);
    let begins = match parts {
        Some(part) => !has_parts(tx, tenant, part.export).await?,
        None => false,
    };
    let run_at = now();
    let jobs: Vec<Job> = new.iter().map(|job| ready_job(job, run_at)).collect();
    // Before the rows are there: they would be the least tag of those who wait.
    let from = if begins { virtual_time(tx).await? } else { 0.0 };
    for chunk in jobs.chunks(CHUNK) {
        let rows = chunk.iter().cloned().map(|job| ActiveModel::from(job).reset_all());
        Entity::insert_many(rows).exec_without_returning(tx.raw()).await.doing("enqueueing jobs")?;
    }
    // After the rows, whose export a commit locks before it comes here.
    if begins {
        raise_to(tx, tenant, from).await?;
    }
    wakeups::notify(tx.raw()).await?;
    Ok(jobs)
}

fn ready_job(new: &NewJob, run_at: DateTimeUtc) -> Job {
    let cost = if new.cost.is_finite() { new.cost.max(0.0) } else { 0.0 };
    Job {
        id: JobId::new(),
        export_id: new.export,
        tenant_id: new.tenant,
        kind: new.kind,
        index: new.index,
        state: JobState::Ready,
        tag: 0.0,
        cost,
        attempt: 0,
        failures: 0,
        crashes: 0,
        run_at,
        owner: None,
        lease_until: None,
        error: None,
        error_code: None,
    }
}

/// Whether something of the tenant waits or is in service, other than of `export`.
async fn has_parts(tx: &Transaction, tenant: TenantId, export: ExportId) -> Result<bool> {
    let other = Entity::find()
        .filter(Column::TenantId.eq(tenant))
        .filter(Column::ExportId.ne(export))
        .filter(Column::Kind.ne(JobKind::Coordinate))
        .filter(Column::State.is_in([JobState::Ready, JobState::Running]))
        .one(tx.raw())
        .await;
    Ok(other.doing("checking whether a tenant is idle")?.is_some())
}

/// Puts a tenant at `tag`, unless it is beyond.
async fn raise_to(tx: &Transaction, tenant: TenantId, tag: f64) -> Result<()> {
    let doing = "moving a tenant's fair share";
    let first = fair_share::ActiveModel { tenant_id: Set(tenant), tag: Set(tag) };
    fair_share::Entity::insert(first)
        .on_conflict(OnConflict::column(fair_share::Column::TenantId).do_nothing().to_owned())
        .exec_without_returning(tx.raw())
        .await
        .doing(doing)?;
    fair_share::Entity::update_many()
        .col_expr(fair_share::Column::Tag, Expr::value(tag))
        .filter(fair_share::Column::TenantId.eq(tenant))
        .filter(fair_share::Column::Tag.lt(tag))
        .exec(tx.raw())
        .await
        .doing(doing)?;
    Ok(())
}

async fn virtual_time(tx: &Transaction) -> Result<f64> {
    let doing = "reading the virtual time";
    let of = |state: JobState| {
        Entity::find().select_only().filter(Column::Kind.eq(JobKind::Segment)).filter(Column::State.eq(state))
    };
    let share = Entity::belongs_to(fair_share::Entity).from(Column::TenantId).to(fair_share::Column::TenantId).into();
    let in_service = of(JobState::Running).column_as(Column::Tag.max(), "tag");
    let waiting = of(JobState::Ready).join(JoinType::InnerJoin, share).column_as(fair_share::Column::Tag.min(), "tag");
    let served = fair_share::Entity::find().select_only().column_as(fair_share::Column::Tag.max(), "tag");
    let in_service: Option<Option<f64>> = in_service.into_tuple().one(tx.raw()).await.doing(doing)?;
    if let Some(tag) = in_service.flatten() {
        return Ok(tag);
    }
    let waiting: Option<Option<f64>> = waiting.into_tuple().one(tx.raw()).await.doing(doing)?;
    if let Some(tag) = waiting.flatten() {
        return Ok(tag);
    }
    let served: Option<Option<f64>> = served.into_tuple().one(tx.raw()).await.doing(doing)?;
    Ok(served.flatten().unwrap_or(0.0))
}

/// The coordinator to be claimed next. A tenant that has `at_once` exports at work, or as many as its own limit says,
/// has to wait.
pub(super) async fn next_coordinator(tx: &Transaction, at_once: u32, now: DateTimeUtc) -> Result<Option<JobId>> {
    let doing = "choosing a coordinator";
    let of = |state: JobState| {
        Entity::find().select_only().filter(Column::Kind.eq(JobKind::Coordinate)).filter(Column::State.eq(state))
    };
    let ready: Vec<(JobId, TenantId)> = of(JobState::Ready)
        .columns([Column::Id, Column::TenantId])
        .filter(Column::RunAt.lte(now))
        .order_by_asc(Column::Id)
        .into_tuple()
        .all(tx.raw())
        .await
        .doing(doing)?;
    let mut oldest: HashMap<TenantId, JobId> = HashMap::new();
    ready.into_iter().for_each(|(job, tenant)| _ = oldest.entry(tenant).or_insert(job));
    if oldest.is_empty() {
        return Ok(None);
    }
    let running: Vec<(TenantId, i64)> = of(JobState::Running)
        .column(Column::TenantId)
        .column_as(Column::Id.count(), "count")
        .group_by(Column::TenantId)
        .into_tuple()
        .all(tx.raw())
        .await
        .doing(doing)?;
    let running: HashMap<_, _> = running.into_iter().collect();
    let bounds = bounds(tx, oldest.keys().copied()).await?;
    let next = oldest.into_iter().filter_map(|(tenant, job)| {
        let (weight, own) = bounds.get(&tenant).copied().unwrap_or((1.0, None));
        let running = running.get(&tenant).copied().unwrap_or(0);
        (running < own.unwrap_or(i64::from(at_once))).then_some((running as f64 / weight, job))
    });
    let next = next.min_by(|(a, older), (b, job)| a.total_cmp(b).then(older.cmp(job)));
    Ok(next.map(|(_, job)| job))
}

/// Tenants' weights, and how many exports they may have at work where that is their own.
async fn bounds(
    tx: &Transaction,
    tenants: impl Iterator<Item = TenantId>,
) -> Result<HashMap<TenantId, (f64, Option<i64>)>> {
    let limits = tenant::Entity::belongs_to(tenant_limits::Entity)
        .from(tenant::Column::Id)
        .to(tenant_limits::Column::TenantId)
        .into();
    let rows: Vec<(TenantId, f64, Option<i64>)> = tenant::Entity::find()
        .select_only()
        .columns([tenant::Column::Id, tenant::Column::Weight])
        .join(JoinType::LeftJoin, limits)
        .column(tenant_limits::Column::ConcurrentExports)
        .filter(tenant::Column::Id.is_in(tenants))
        .into_tuple()
        .all(tx.raw())
        .await
        .doing("reading tenants' weights")?;
    Ok(rows.into_iter().map(|(tenant, weight, own)| (tenant, (weight.max(MIN_WEIGHT), own))).collect())
}

/// The part to be claimed next, of those kinds and of other tenants than those excepted.
pub(super) async fn next_part(tx: &Transaction, wanted: &Wanted, now: DateTimeUtc) -> Result<Option<JobId>> {
    let share = Entity::belongs_to(fair_share::Entity).from(Column::TenantId).to(fair_share::Column::TenantId).into();
    let mut next = Entity::find()
        .select_only()
        .column(Column::Id)
        .join(JoinType::InnerJoin, share)
        .filter(Column::State.eq(JobState::Ready))
        .filter(Column::Kind.is_in(wanted.kinds.iter().copied().filter(|kind| *kind != JobKind::Coordinate)))
        .filter(Column::TenantId.is_not_in(wanted.parts_except.iter().copied()))
        .filter(Column::RunAt.lte(now))
        .order_by_asc(fair_share::Column::Tag)
        .order_by_asc(Column::ExportId)
        .order_by_asc(Column::Kind)
        .order_by_asc(Column::Index)
        .limit(1);
    QuerySelect::query(&mut next).lock_with_tables_behavior(LockType::Update, [Entity], LockBehavior::SkipLocked);
    next.into_tuple().one(tx.raw()).await.doing("choosing a job")
}

/// The tag at which a job of the table is claimed now: its tenant's.
pub(super) fn tag_of_tenant() -> Expr {
    let share = Query::select()
        .column((fair_share::Entity, fair_share::Column::Tag))
        .from(fair_share::Entity)
        .and_where(Expr::col((fair_share::Entity, fair_share::Column::TenantId)).equals((Entity, Column::TenantId)))
        .to_owned();
    Func::coalesce([Expr::from(share), Expr::value(0.0)]).into()
}

/// Charges the tenant of a claimed part, on the first try.
pub(super) async fn charge(tx: &Transaction, job: &Job) -> Result<()> {
    if job.attempt == 1 { charge_tenant(tx, job.tenant_id, job.cost).await } else { Ok(()) }
}

/// Replaces the estimated cost that [`charge`] charged by the measured device time, in seconds. Work that took no
/// device time keeps its estimate.
pub(crate) async fn record_actual(tx: &Transaction, job: &Job, device_seconds: f64) -> Result<()> {
    if device_seconds > 0.0 { charge_tenant(tx, job.tenant_id, device_seconds - job.cost).await } else { Ok(()) }
}

/// Moves a tenant's tag on by `seconds` over its weight.
pub(crate) async fn charge_tenant(tx: &Transaction, tenant: TenantId, seconds: f64) -> Result<()> {
    let row: Option<f64> = tenant::Entity::find_by_id(tenant)
        .select_only()
        .column(tenant::Column::Weight)
        .into_tuple()
        .one(tx.raw())
        .await
        .doing("reading a tenant's weight")?;
    let weight = row.unwrap_or(1.0).max(MIN_WEIGHT);
    fair_share::Entity::update_many()
        .col_expr(fair_share::Column::Tag, Expr::col(fair_share::Column::Tag).add(seconds / weight))
        .filter(fair_share::Column::TenantId.eq(tenant))
        .exec(tx.raw())
        .await
        .doing("charging a tenant")?;
    Ok(())
}
