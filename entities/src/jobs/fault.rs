//! What happens to a job after an error or a crash.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{Condition, QueryOrder, QuerySelect, entity::prelude::*};

use super::{Job, JobKind, JobState, held, wakeups};
use crate::{
    Database, Error, Result, Transaction,
    error::Doing,
    exports::{self, Export},
    now,
    rows::{
        export,
        job::{Column, Entity},
    },
};

/// Errors after which a job is dead.
pub const MAX_FAILURES: i32 = 3;
/// Crashes without progress after which a job is dead: of a part without its commit, of a coordinator without any.
pub const MAX_CRASHES: i32 = 20;

/// What comes after an error.
#[derive(Debug, Clone, PartialEq)]
pub enum Failure {
    /// The job is ready again at that time.
    Retry {
        /// Not claimed before.
        at: DateTime<Utc>,
    },
    /// It was the last try. Of a coordinator: the export that failed with it.
    Dead(Option<Box<Export>>),
    /// The job was no longer the caller's: nothing has changed.
    Lost,
}

impl Job {
    /// The problem object (RFC 9457) of an export that ends because of this job.
    pub fn problem(&self) -> Json {
        let (code, reason) = (self.error_code.as_deref(), self.error.as_deref());
        let unknown = || format!("{} {} is {}", self.kind, self.index, self.state);
        exports::problem(code.unwrap_or("render_failed"), &reason.map_or_else(unknown, str::to_owned))
    }
}

/// What [`sweep`] or [`take_back`] changed, each job in a transaction of its own.
#[derive(Debug, Default)]
pub struct Swept {
    /// How many jobs are ready again.
    pub ready: u64,
    /// Jobs that have crashed too often and are dead now.
    pub dead: Vec<Job>,
    /// The exports of dead coordinators, which have failed with them.
    pub failed: Vec<Export>,
    /// Why further jobs were left as they are, if any were; what is listed here is done all the same.
    pub error: Option<Error>,
}

/// Counts an error of a job: it is tried again after 1 s, then 4 s, and is dead after the third. A dead coordinator
/// fails its export; of another dead job the coordinator learns through [`super::of_export`].
///
/// `code` says for programs what kind of error it is; it becomes the code of the problem the export may end with.
pub async fn fail(db: &Database, job: &Job, code: &str, error: &str) -> Result<Failure> {
    let tx = db.begin().await?;
    let Some(mut row) = lock(&tx, job, held(job)).await? else {
        return Ok(Failure::Lost);
    };
    row.failures += 1;
    row.error = Some(error.to_owned());
    row.error_code = Some(code.to_owned());
    let failure = if row.failures >= MAX_FAILURES {
        Failure::Dead(bury(&tx, &mut row).await?.map(Box::new))
    } else {
        let at = now() + backoff(row.failures);
        requeue(&tx, &mut row, at).await?;
        Failure::Retry { at }
    };
    tx.commit().await?;
    Ok(failure)
}

/// 1 s after the first error, then four times as long each.
fn backoff(failures: i32) -> TimeDelta {
    let exponent = failures.clamp(1, 8) - 1;
    TimeDelta::seconds(4_i64.pow(exponent.unsigned_abs()))
}

/// Makes jobs whose lease has expired ready again: their holders have crashed, or hang.
///
/// # Errors
/// When nothing was changed; [`Swept::error`] is one that came later.
pub async fn sweep(db: &Database) -> Result<Swept> {
    let expired = Condition::all().add(Column::State.eq(JobState::Running)).add(Column::LeaseUntil.lt(now()));
    crashed(db, expired, "its lease expired").await
}

/// Makes all jobs of `owner` ready again at once: for a node that starts. The
/// caller ensures that no other process uses this owner name.
///
/// # Errors
/// As of [`sweep`].
pub async fn take_back(db: &Database, owner: &str) -> Result<Swept> {
    let owned = Condition::all().add(Column::State.eq(JobState::Running)).add(Column::Owner.eq(owner));
    crashed(db, owned, "its process ended").await
}

/// Counts a crash of every job that meets `condition`, each in a transaction of its own, until one fails.
async fn crashed(db: &Database, condition: Condition, how: &str) -> Result<Swept> {
    let found = Entity::find().filter(condition.clone()).order_by_asc(Column::Id).all(db.reader()).await;
    let mut swept = Swept::default();
    for job in found.doing("finding crashed jobs")? {
        // Read again under the lock: it may have been renewed or ended meanwhile.
        let still = condition.clone().add(Column::Id.eq(job.id));
        match crash(db, &job, still, how).await {
            Ok(None) => {}
            Ok(Some(Crash::Ready)) => swept.ready += 1,
            Ok(Some(Crash::Dead(dead))) => {
                let (job, export) = *dead;
                swept.dead.push(job);
                swept.failed.extend(export);
            }
            Err(error) => {
                swept.error = Some(error);
                break;
            }
        }
    }
    Ok(swept)
}

/// What a crash made of a job.
enum Crash {
    Ready,
    /// Of a coordinator with the export that failed with it.
    Dead(Box<(Job, Option<Export>)>),
}

/// Counts a crash of `job`, if it `still` is what it was found as.
async fn crash(db: &Database, job: &Job, still: Condition, how: &str) -> Result<Option<Crash>> {
    let tx = db.begin().await?;
    let Some(mut row) = lock(&tx, job, still).await? else { return Ok(None) };
    row.crashes += 1;
    let owner = row.owner.take().unwrap_or_default();
    let crash = if row.crashes >= MAX_CRASHES {
        row.error = Some(format!(
            "{MAX_CRASHES} crashes without progress; the last time {how} (attempt {}, on {owner})",
            row.attempt
        ));
        row.error_code = Some("crashed".to_owned());
        let export = bury(&tx, &mut row).await?;
        Crash::Dead(Box::new((row, export)))
    } else {
        requeue(&tx, &mut row, now()).await?;
        Crash::Ready
    };
    tx.commit().await?;
    Ok(Some(crash))
}

/// The job's row, locked, if it meets `condition`. The export's row is locked first, as everywhere, so that no two
/// transactions wait for each other.
async fn lock(tx: &Transaction, job: &Job, condition: Condition) -> Result<Option<Job>> {
    export::Entity::find_by_id(job.export_id).lock_exclusive().one(tx.raw()).await.doing("locking an export")?;
    Entity::find().filter(condition).lock_exclusive().one(tx.raw()).await.doing("locking a job")
}

async fn requeue(tx: &Transaction, row: &mut Job, at: DateTimeUtc) -> Result<()> {
    row.state = JobState::Ready;
    row.run_at = at;
    store(tx, row).await?;
    wakeups::notify(tx.raw()).await
}

/// Makes a job dead. A dead segment job is seen by its coordinator, a dead coordinator by no other job: its export
/// fails here, and is returned.
async fn bury(tx: &Transaction, row: &mut Job) -> Result<Option<Export>> {
    row.state = JobState::Dead;
    store(tx, row).await?;
    match row.kind {
        JobKind::Coordinate => exports::fail_in(tx, row.export_id, row.problem()).await,
        JobKind::Audio | JobKind::Segment => Ok(None),
    }
}

async fn store(tx: &Transaction, row: &mut Job) -> Result<()> {
    row.owner = None;
    row.lease_until = None;
    Entity::update_many()
        .col_expr(Column::State, Expr::value(row.state))
        .col_expr(Column::Failures, Expr::value(row.failures))
        .col_expr(Column::Crashes, Expr::value(row.crashes))
        .col_expr(Column::RunAt, Expr::value(row.run_at))
        .col_expr(Column::Error, Expr::value(row.error.clone()))
        .col_expr(Column::ErrorCode, Expr::value(row.error_code.clone()))
        .col_expr(Column::Owner, Expr::value(None::<String>))
        .col_expr(Column::LeaseUntil, Expr::value(None::<DateTimeUtc>))
        .filter(Column::Id.eq(row.id))
        .exec(tx.raw())
        .await
        .doing("counting a job's fault")?;
    Ok(())
}
