//! Start-time fair queueing over tenants (Goyal, Vin and Cheng, 1996), in device-seconds.
//!
//! A job's start tag is the greater of the virtual time and its tenant's last finish tag; its finish tag is the start
//! tag plus cost / weight. Jobs are claimed in the order of start tags, so tenants with work waiting share the devices
//! by weight whatever they have enqueued, and a tenant that was idle cannot save its share up.
//!
//! Virtual time is the greatest start tag in service; with nothing in service the least one waiting; with nothing
//! waiting either the greatest finish tag there was. Only segments count: the other kinds use no device, and are
//! claimed out of this order, by claimers of their own.

use sea_orm::{ActiveValue::Set, QuerySelect, entity::prelude::*, sea_query::OnConflict};

use super::{Job, JobKind, JobState, NewJob};
use crate::{
    JobId, Result, TenantId, Transaction,
    error::Doing,
    now,
    rows::{
        fair_share,
        job::{ActiveModel, Column, Entity},
        tenant,
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
    let (mut finish, weight) = lock_share(tx, tenant).await?;
    let virtual_time = virtual_time(tx).await?;
    let run_at = now();
    let mut jobs = Vec::with_capacity(new.len());
    for job in new {
        let tag = finish.max(virtual_time);
        let cost = if job.cost.is_finite() { job.cost.max(0.0) } else { 0.0 };
        if cost > 0.0 {
            finish = tag + cost / weight;
        }
        jobs.push(ready_job(job, tag, cost, run_at));
    }
    let share = fair_share::ActiveModel { finish_tag: Set(finish), ..Default::default() };
    fair_share::Entity::update_many()
        .set(share)
        .filter(fair_share::Column::TenantId.eq(tenant))
        .exec(tx.raw())
        .await
        .doing("moving a tenant's fair share")?;
    for chunk in jobs.chunks(CHUNK) {
        let rows = chunk.iter().cloned().map(|job| ActiveModel::from(job).reset_all());
        Entity::insert_many(rows).exec_without_returning(tx.raw()).await.doing("enqueueing jobs")?;
    }
    Ok(jobs)
}

fn ready_job(new: &NewJob, tag: f64, cost: f64, run_at: DateTimeUtc) -> Job {
    Job {
        id: JobId::new(),
        export_id: new.export,
        tenant_id: new.tenant,
        kind: new.kind,
        index: new.index,
        state: JobState::Ready,
        tag,
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

/// The tenant's last finish tag and weight; its row is locked, so that two enqueuers cannot get equal tags.
async fn lock_share(tx: &Transaction, tenant: TenantId) -> Result<(f64, f64)> {
    let doing = "reading a tenant's fair share";
    let first = fair_share::ActiveModel { tenant_id: Set(tenant), finish_tag: Set(0.0) };
    fair_share::Entity::insert(first)
        .on_conflict(OnConflict::column(fair_share::Column::TenantId).do_nothing().to_owned())
        .exec_without_returning(tx.raw())
        .await
        .doing(doing)?;
    let share = fair_share::Entity::find_by_id(tenant).lock_exclusive().one(tx.raw()).await.doing(doing)?;
    let row = tenant::Entity::find_by_id(tenant).one(tx.raw()).await.doing(doing)?;
    let weight = row.map_or(1.0, |tenant| tenant.weight);
    Ok((share.map_or(0.0, |share| share.finish_tag), weight.max(MIN_WEIGHT)))
}

async fn virtual_time(tx: &Transaction) -> Result<f64> {
    let doing = "reading the virtual time";
    let of = |state: JobState| {
        Entity::find().select_only().filter(Column::Kind.eq(JobKind::Segment)).filter(Column::State.eq(state))
    };
    let in_service = of(JobState::Running).column_as(Column::Tag.max(), "tag");
    let waiting = of(JobState::Ready).column_as(Column::Tag.min(), "tag");
    let served = fair_share::Entity::find().select_only().column_as(fair_share::Column::FinishTag.max(), "tag");
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
