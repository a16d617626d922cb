//! Queries of the sweepers, over all tenants.

use chrono::{DateTime, Utc};
use sea_orm::{QuerySelect, entity::prelude::*, sea_query::Query};

use super::{ExportState, lock};
use crate::{
    Database, ExportId, Result, TenantId,
    error::Doing,
    rows::{
        export::{Column, Entity},
        segment,
    },
};

/// Exports that ended before `time`, whatever their end.
pub async fn ended_before(db: &Database, time: DateTime<Utc>) -> Result<Vec<(TenantId, ExportId)>> {
    of(db, Entity::find().filter(Column::FinishedAt.lt(time))).await
}

/// Failed exports that ended before `time` and still keep segments for a retry.
pub async fn keeping_segments_since(db: &Database, time: DateTime<Utc>) -> Result<Vec<(TenantId, ExportId)>> {
    let keeping = Query::select().column(segment::Column::ExportId).from(segment::Entity).to_owned();
    let failed = Entity::find()
        .filter(Column::FinishedAt.lt(time))
        .filter(Column::State.eq(ExportState::Failed))
        .filter(Column::Id.in_subquery(keeping));
    of(db, failed).await
}

/// Exports whose segments' files are, or may be again, of use: unfinished ones, and failed ones that can be retried.
pub async fn resumable(db: &Database) -> Result<Vec<(TenantId, ExportId)>> {
    let states = ExportState::UNFINISHED.into_iter().chain([ExportState::Failed]);
    of(db, Entity::find().filter(Column::State.is_in(states))).await
}

async fn of(db: &Database, exports: Select<Entity>) -> Result<Vec<(TenantId, ExportId)>> {
    let ids = exports.select_only().column(Column::TenantId).column(Column::Id).into_tuple().all(db.reader()).await;
    ids.doing("finding exports to sweep")
}

/// Forgets the segments of a failed export, whose files then can go; false when it is not failed (any more).
pub async fn drop_segments(db: &Database, tenant: TenantId, id: ExportId) -> Result<bool> {
    let tx = db.begin().await?;
    let export = lock(&tx, tenant, id).await?;
    if export.is_none_or(|export| export.state != ExportState::Failed) {
        return Ok(false);
    }
    let gone = segment::Entity::delete_many().filter(segment::Column::ExportId.eq(id)).exec(tx.raw()).await;
    gone.doing("forgetting an export's segments")?;
    tx.commit().await?;
    Ok(true)
}
