//! Claiming a job, keeping it, and ending it.

use std::time::Duration;

use chrono::TimeDelta;
use sea_orm::{
    Condition, ExprTrait, FromQueryResult,
    entity::prelude::*,
    sea_query::{Alias, LockBehavior, LockType, Order, Query},
};

use super::{Job, JobKind, JobState, held};
use crate::{
    Database, Result,
    error::Doing,
    now,
    rows::job::{Column, Entity},
};

/// Claims the ready job with the least fair tag among `kinds` for the length of `lease`; `None` when there is none.
/// Ask only for what can be started now.
pub async fn claim(db: &Database, owner: &str, kinds: &[JobKind], lease: Duration) -> Result<Option<Job>> {
    claim_within(db, owner, kinds, lease, u32::MAX).await
}

/// [`claim`] that leaves a tenant's next export waiting while `exports_at_once` of its exports are at work. Nodes that
/// claim at the same instant may together exceed it by one each.
pub async fn claim_within(
    db: &Database,
    owner: &str,
    kinds: &[JobKind],
    lease: Duration,
    exports_at_once: u32,
) -> Result<Option<Job>> {
    let now = now();
    let mut next = Query::select();
    next.column((Entity, Column::Id))
        .from(Entity)
        .and_where(Column::State.eq(JobState::Ready))
        .and_where(Column::Kind.is_in(kinds.iter().copied()))
        .and_where(Column::RunAt.lte(now))
        .order_by((Entity, Column::Tag), Order::Asc)
        .order_by((Entity, Column::Id), Order::Asc)
        .limit(1)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
    if exports_at_once < u32::MAX && kinds.contains(&JobKind::Coordinate) {
        next.cond_where(within(exports_at_once));
    }
    let claim = Query::update()
        .table(Entity)
        .value(Column::State, JobState::Running)
        .value(Column::Attempt, Expr::col(Column::Attempt).add(1))
        .value(Column::Owner, owner)
        .value(Column::LeaseUntil, until(now, lease))
        // A scalar subquery: PostgreSQL runs it once, where it may run that of an `in` again for every row.
        .and_where(Expr::col(Column::Id).eq(Expr::from(next)))
        .returning_all()
        .to_owned();
    // All rows are asked for, not one: SQLite ends a statement, and with it its transaction, only after the last.
    let rows = db.writer().query_all(&claim).await.doing("claiming a job")?;
    rows.first().map(|row| Job::from_query_result(row, "")).transpose().doing("reading a claimed job")
}

/// The job is no coordinator, or its tenant has fewer than `limit` of them running.
fn within(limit: u32) -> Condition {
    let other = Alias::new("other");
    let running = Query::select()
        .expr(Expr::col((other.clone(), Column::Id)).count())
        .from_as(Entity, other.clone())
        .and_where(Expr::col((other.clone(), Column::TenantId)).equals((Entity, Column::TenantId)))
        .and_where(Expr::col((other.clone(), Column::Kind)).eq(JobKind::Coordinate))
        .and_where(Expr::col((other, Column::State)).eq(JobState::Running))
        .to_owned();
    Condition::any().add(Column::Kind.ne(JobKind::Coordinate)).add(Expr::from(running).lt(i64::from(limit)))
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
    let released = Entity::update_many()
        .col_expr(Column::State, Expr::value(JobState::Ready))
        .col_expr(Column::Owner, Expr::value(None::<String>))
        .col_expr(Column::LeaseUntil, Expr::value(None::<DateTimeUtc>))
        .filter(held(job))
        .exec(db.writer())
        .await;
    Ok(released.doing("releasing a job")?.rows_affected > 0)
}

fn until(now: DateTimeUtc, lease: Duration) -> DateTimeUtc {
    let lease = TimeDelta::from_std(lease).unwrap_or(TimeDelta::days(1));
    now + lease
}
