//! Files that are to be removed: recorded in the transaction that deletes the row they belong to, forgotten when they
//! are gone. So no file outlives its row unnoticed, whether the storage fails or the server does.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ActiveValue::Set, QueryOrder, QuerySelect, entity::prelude::*, sea_query::OnConflict};

use crate::{
    Database, Result, Subject, TenantId, Transaction,
    error::Doing,
    now,
    rows::file_removal::{ActiveModel, Column, Entity, Model},
};

/// How long what deletes a row has to remove its files by itself. One that takes longer is helped, which does no harm.
const FIRST_WAIT: TimeDelta = TimeDelta::seconds(2);
/// How long after a failure the next try comes.
const PAUSE: TimeDelta = TimeDelta::seconds(10);
/// The longest pause between two tries.
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(10);

/// Files to be removed, claimed for one try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Whose they are, or were.
    pub tenant: TenantId,
    /// The video or export.
    pub subject: Subject,
    /// How many tries there were, this one among them.
    pub attempts: i32,
}

/// Records that the files of a subject are to be removed, in the transaction that deletes its row.
pub(crate) async fn record_in(tx: &Transaction, tenant: TenantId, subject: Subject) -> Result<()> {
    insert(tx.raw(), tenant, subject, now() + FIRST_WAIT).await
}

/// Records that the files of a subject could not be removed, and are to be tried again.
pub async fn record(db: &Database, tenant: TenantId, subject: Subject) -> Result<()> {
    insert(db.writer(), tenant, subject, now() + PAUSE).await
}

async fn insert(db: &impl ConnectionTrait, tenant: TenantId, subject: Subject, at: DateTime<Utc>) -> Result<()> {
    let row = ActiveModel {
        subject_kind: Set(subject.kind()),
        subject_id: Set(subject.uuid()),
        tenant_id: Set(tenant),
        attempts: Set(0),
        run_at: Set(at),
        created_at: Set(now()),
    };
    let conflict = OnConflict::columns([Column::SubjectKind, Column::SubjectId])
        .update_columns([Column::Attempts, Column::RunAt])
        .to_owned();
    let recorded = Entity::insert(row).on_conflict(conflict).exec_without_returning(db).await;
    recorded.doing("recording files to be removed")?;
    Ok(())
}

/// The videos and exports of any tenant whose files are still to be removed, by their ids.
pub async fn pending(db: &Database) -> Result<HashSet<Uuid>> {
    let ids = Entity::find().select_only().column(Column::SubjectId).into_tuple().all(db.reader()).await;
    Ok(ids.doing("reading the files to be removed")?.into_iter().collect())
}

/// Claims at most `most` removals of any tenant that are due. Each is due again after a pause that grows with its
/// attempts, unless it is forgotten before.
pub async fn claim_due(db: &Database, most: u64) -> Result<Vec<Removal>> {
    let due = Entity::find().filter(Column::RunAt.lte(now())).order_by_asc(Column::RunAt).limit(most);
    let due = due.all(db.reader()).await.doing("finding files to be removed")?;
    let mut claimed = Vec::new();
    for Model { subject_kind, subject_id, tenant_id, attempts, run_at, .. } in due {
        let attempts = attempts.saturating_add(1);
        let updated = Entity::update_many()
            .col_expr(Column::Attempts, Expr::value(attempts))
            .col_expr(Column::RunAt, Expr::value(now() + pause(attempts)))
            .filter(Column::SubjectKind.eq(subject_kind))
            .filter(Column::SubjectId.eq(subject_id))
            // Another node may have claimed it since it was read.
            .filter(Column::RunAt.eq(run_at))
            .exec(db.writer())
            .await;
        if updated.doing("claiming files to be removed")?.rows_affected > 0 {
            claimed.push(Removal { tenant: tenant_id, subject: Subject::of(subject_kind, subject_id), attempts });
        }
    }
    Ok(claimed)
}

/// Forgets a removal: the files are gone.
pub async fn forget(db: &Database, subject: Subject) -> Result<()> {
    let gone = Entity::delete_by_id((subject.kind(), subject.uuid())).exec(db.writer()).await;
    gone.doing("forgetting removed files")?;
    Ok(())
}

/// The pause after a try: it doubles up to its longest.
fn pause(attempts: i32) -> TimeDelta {
    let doublings = attempts.clamp(1, 10) - 1;
    (PAUSE * (1 << doublings)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_ten_minutes() {
        assert_eq!([0, 1, 2, 3].map(pause), [10, 10, 20, 40].map(TimeDelta::seconds));
        assert_eq!([7, 1000, i32::MAX].map(pause), [LONGEST_PAUSE; 3]);
    }
}
