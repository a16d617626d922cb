//! Durable jobs: one leased table, which survives a kill at any instant.
//!
//! A job is written in the same transaction as what it is about ([`enqueue`]), claimed by an owner for the length of
//! a lease ([`claim`]), renewed while its work advances ([`renew`]), and ended once ([`done`], or
//! [`crate::segments::commit`]). A claim raises `attempt`; every later change names `(id, attempt, owner)` and the
//! state `running`, so that a worker that lost its lease changes nothing, however late it comes.
//!
//! Errors and crashes are counted separately: an error ([`fail`]) is retried after 1 s and 4 s and kills the job the third
//! time. A crash (an expired lease found by [`sweep`], or [`take_back`] at a node's start) makes the job ready at once,
//! and kills it only after 20 of them. They are counted for each job: another part's commit takes none back, except
//! from the coordinator, which lives as long as its export.
//!
//! On PostgreSQL every transaction that makes jobs ready wakes the claimers of all nodes ([`JobWakeups`]).
//!
//! Times are the nodes' own clocks; nodes that share a database keep them synchronised. A clock that is off shifts
//! leases by as much and never breaks the fence.

mod claim;
mod fair;
mod fault;
mod queue_depth;
mod wakeups;

use sea_orm::{
    Condition, QueryOrder, QuerySelect,
    entity::prelude::*,
    sea_query::{Func, Query},
};

use crate::{
    Database, ExportId, Result, TenantId, Transaction,
    error::Doing,
    rows::job::{Column, Entity},
};

pub use crate::rows::job::{JobKind, JobState, Model as Job};
pub(crate) use claim::done_in;
pub use claim::{Wanted, claim, claim_within, done, release, renew};
pub(crate) use fair::{charge_tenant, record_actual};
pub use fair::{enqueue, enqueue_all};
pub use fault::{Failure, MAX_CRASHES, MAX_FAILURES, Swept, fail, sweep, take_back};
pub use queue_depth::{QueueDepth, queue_depths};
pub use wakeups::JobWakeups;

/// A job to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NewJob {
    /// For which export.
    pub export: ExportId,
    /// Whose export.
    pub tenant: TenantId,
    /// What it does.
    pub kind: JobKind,
    /// Which segment; 0 for the other kinds.
    pub index: i32,
    /// Estimated device-seconds; 0 for what needs no device.
    pub cost: f64,
}

/// All jobs of the export that a claimed job belongs to, by kind and index.
pub async fn of_export(db: &Database, job: &Job) -> Result<Vec<Job>> {
    let jobs = Entity::find()
        .filter(Column::ExportId.eq(job.export_id))
        .filter(Column::TenantId.eq(job.tenant_id))
        .order_by_asc(Column::Kind)
        .order_by_asc(Column::Index)
        .all(db.reader())
        .await;
    jobs.doing("reading an export's jobs")
}

/// How much of the whole deployment is unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Exports.
    pub exports: u64,
    /// Tenants that own them.
    pub tenants: u64,
}

/// Counts unfinished exports by their coordinators' jobs.
pub async fn load(tx: &Transaction) -> Result<Load> {
    let row: Option<(i64, i64)> = Entity::find()
        .select_only()
        .column_as(Column::Id.count(), "exports")
        .column_as(Expr::expr(Func::count_distinct(Expr::col(Column::TenantId))), "tenants")
        .filter(Column::State.is_in([JobState::Ready, JobState::Running]))
        .filter(Column::Kind.eq(JobKind::Coordinate))
        .into_tuple()
        .one(tx.raw())
        .await
        .doing("counting what is unfinished")?;
    let (exports, tenants) = row.unwrap_or_default();
    Ok(Load { exports: exports.unsigned_abs(), tenants: tenants.unsigned_abs() })
}

/// Whether its claimer still holds a job.
pub async fn is_held(db: &Database, job: &Job) -> Result<bool> {
    let row = Entity::find().filter(held(job)).one(db.reader()).await.doing("checking whether a job is held")?;
    Ok(row.is_some())
}

/// Cancels what an export has ready or running; how many jobs. Their holders learn it when they renew or end.
pub async fn cancel_export(tx: &Transaction, export: ExportId) -> Result<u64> {
    let cancelled = Entity::update_many()
        .col_expr(Column::State, Expr::value(JobState::Cancelled))
        .col_expr(Column::LeaseUntil, Expr::value(None::<DateTimeUtc>))
        .filter(Column::ExportId.eq(export))
        .filter(Column::State.is_in([JobState::Ready, JobState::Running]))
        .exec(tx.raw())
        .await;
    Ok(cancelled.doing("cancelling an export's jobs")?.rows_affected)
}

/// The fence: true of the job's row only while the claim that returned `job` holds.
pub(crate) fn held(job: &Job) -> Condition {
    Condition::all()
        .add(Column::Id.eq(job.id))
        .add(Column::Attempt.eq(job.attempt))
        .add(Column::Owner.eq(job.owner.clone()))
        .add(Column::State.eq(JobState::Running))
}

/// [`held`] for statements on other tables.
pub(crate) fn is_held_expr(job: &Job) -> Expr {
    Expr::exists(Query::select().expr(Expr::val(1)).from(Entity).cond_where(held(job)).to_owned())
}
