//! Claiming a job, keeping it, and ending it.

use std::time::Duration;

use chrono::TimeDelta;
use sea_orm::{ExprTrait, FromQueryResult, entity::prelude::*, sea_query::Query};

use super::{Job, JobKind, JobState, fair, held, wakeups};
use crate::{
    Database, Result, TenantId,
    error::Doing,
    now,
    rows::job::{Column, Entity},
};

/// Claims a ready job among `kinds` for the length of `lease`, in the [fair order](super::fair), coordinators first;
/// `None` when there is none. Ask only for what can be started now.
pub async fn claim(db: &Database, owner: &str, kinds: &[JobKind], lease: Duration) -> Result<Option<Job>> {
    claim_within(db, owner, &Wanted { kinds: kinds.to_vec(), parts_except: Vec::new() }, lease, u32::MAX).await
}

/// What a node can start now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub kinds: Vec<JobKind>,
    /// Tenants whose segments and sounds cannot be started.
    pub parts_except: Vec<TenantId>,
}

/// [`claim`] that leaves a tenant's next export waiting while `exports_at_once` of its exports are at work, or as many
/// as the tenant's own limit says. Nodes that claim at the same instant may together exceed it by one each.
pub async fn claim_within(
    db: &Database,
    owner: &str,
    wanted: &Wanted,
    lease: Duration,
    exports_at_once: u32,
) -> Result<Option<Job>> {
    let tx = db.begin().await?;
    let now = now();
    let mut next = None;
    if wanted.kinds.contains(&JobKind::Coordinate) {
        next = fair::next_coordinator(&tx, exports_at_once, now).await?;
    }
    if next.is_none() {
        next = fair::next_part(&tx, wanted, now).await?;
    }
    let Some(id) = next else { return Ok(None) };
    let claim = Query::update()
        .table(Entity)
        .value(Column::State, JobState::Running)
        .value(Column::Attempt, Expr::col(Column::Attempt).add(1))
        .value(Column::Owner, owner)
        .value(Column::LeaseUntil, until(now, lease))
        // In this statement and not in one of its own: when a transaction updates a row twice, PostgreSQL checks the
        // row's foreign key to the export again, and would wait for a commit that waits for the tenant's share.
        .value(Column::Tag, fair::tag_of_tenant())
        .and_where(Column::Id.eq(id))
        .and_where(Column::State.eq(JobState::Ready))
        .returning_all()
        .to_owned();
    // All rows are asked for, not one: SQLite ends a statement only after the last.
    let rows = tx.raw().query_all(&claim).await.doing("claiming a job")?;
    let claimed = rows.first().map(|row| Job::from_query_result(row, "")).transpose();
    // None: on PostgreSQL another node was faster.
    let Some(job) = claimed.doing("reading a claimed job")? else { return Ok(None) };
    if job.kind != JobKind::Coordinate {
        fair::charge(&tx, &job).await?;
    }
    tx.commit().await?;
    Ok(Some(job))
}

/// Prolongs the lease to `lease` from now; false when the job is no longer the caller's, which must then stop its work.
/// Renew at a third of the lease, and only while the work advances.
pub async fn renew(db: &Database, job: &Job, lease: Duration) -> Result<bool> {
    let renewed = Entity::update_many()
        .col_expr(Column::LeaseUntil, Expr::value(until(now(), lease)))
        .filter(held(job))
        .exec(db.writer())
        .await;
    Ok(renewed.doing("renewing a lease")?.rows_affected > 0)
}

/// Ends a job whose work has its effect elsewhere; false when the job is no longer the caller's, whose work then must
/// have none.
pub async fn done(db: &Database, job: &Job) -> Result<bool> {
    done_in(db.writer(), job).await
}

pub(crate) async fn done_in(db: &impl ConnectionTrait, job: &Job) -> Result<bool> {
    let done = Entity::update_many()
        .col_expr(Column::State, Expr::value(JobState::Done))
        .col_expr(Column::LeaseUntil, Expr::value(None::<DateTimeUtc>))
        .filter(held(job))
        .exec(db)
        .await;
    Ok(done.doing("ending a job")?.rows_affected > 0)
}

/// Gives a job back unharmed, for another claimer to take at once; false when it is no longer the caller's.
pub async fn release(db: &Database, job: &Job) -> Result<bool> {
    let tx = db.begin().await?;
    let released = Entity::update_many()
        .col_expr(Column::State, Expr::value(JobState::Ready))
        .col_expr(Column::Owner, Expr::value(None::<String>))
        .col_expr(Column::LeaseUntil, Expr::value(None::<DateTimeUtc>))
        .filter(held(job))
        .exec(tx.raw())
        .await;
    if released.doing("releasing a job")?.rows_affected == 0 {
        return Ok(false);
    }
    wakeups::notify(tx.raw()).await?;
    tx.commit().await?;
    Ok(true)
}

fn until(now: DateTimeUtc, lease: Duration) -> DateTimeUtc {
    let lease = TimeDelta::from_std(lease).unwrap_or(TimeDelta::days(1));
    now + lease
}
