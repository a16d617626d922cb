//! How many jobs of the whole deployment wait and run: for operators and metrics.

use chrono::{DateTime, Utc};
use sea_orm::{
    ExprTrait, FromQueryResult, QuerySelect,
    entity::prelude::*,
    sea_query::{CaseStatement, Expr},
};

use super::{JobKind, JobState};
use crate::{
    Database, Result, TenantId,
    error::Doing,
    rows::job::{Column, Entity},
};

/// How many unfinished jobs of one kind a tenant has in one state.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct QueueDepth {
    /// Whose.
    pub tenant_id: TenantId,
    /// What they do.
    pub kind: JobKind,
    /// `ready` or `running`.
    pub state: JobState,
    /// How many.
    pub jobs: i64,
    /// Those of them that have failed before and are tried again.
    pub retrying: i64,
    /// When the first of them could, or can, be taken up.
    pub oldest: DateTime<Utc>,
}

/// Every tenant's unfinished jobs, of all tenants of the deployment.
pub async fn queue_depths(db: &Database) -> Result<Vec<QueueDepth>> {
    let failed = CaseStatement::new().case(Expr::col(Column::Failures).gt(0), 1).finally(0);
    let rows = Entity::find()
        .select_only()
        .columns([Column::TenantId, Column::Kind, Column::State])
        .column_as(Column::Id.count(), "jobs")
        .column_as(Expr::expr(failed).sum(), "retrying")
        .column_as(Column::RunAt.min(), "oldest")
        .filter(Column::State.is_in([JobState::Ready, JobState::Running]))
        .group_by(Column::TenantId)
        .group_by(Column::Kind)
        .group_by(Column::State)
        .into_model::<QueueDepth>()
        .all(db.reader())
        .await;
    rows.doing("counting jobs")
}
