//! Unfinished jobs of all tenants, counted: for operators and metrics.

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

/// Unfinished jobs of one tenant, kind and state.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct QueueDepth {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Their kind.
    pub kind: JobKind,
    /// `ready` or `running`.
    pub state: JobState,
    /// Their number, at least 1.
    pub jobs: i64,
    /// How many of them have failed before and are retries.
    pub retrying: i64,
    /// The earliest `run_at` among them.
    pub oldest: DateTime<Utc>,
}

/// The queue depths of all tenants of the deployment; combinations without a job are left out.
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
