//! Exports: requests to render something, and the states they go through.
//!
//! `queued → preparing → rendering → assembling → publishing → complete`, or `failed` or `cancelled` from any of
//! them but the last. States only go forward, and an end is final but for [`retry`], with which another attempt begins:
//! every change names, in its `where`, the states it may come from ([`life`](self)), and what a coordinator changes
//! also names the claim it holds.

mod life;
mod retry;
mod sweep;

use sea_orm::{ActiveValue::Set, ExprTrait, QuerySelect, entity::prelude::*};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    Database, ExportId, ReelId, Result, Subject, TenantId, Transaction, UserId, VideoId, detections,
    error::Doing,
    jobs::Job,
    links, now,
    page::{self, Page, PageRequest},
    removals,
    rows::{
        export::{ActiveModel, Column, Entity, Model},
        export_source, export_spec,
    },
};

pub use crate::rows::export::{ExportState, KindColumn, Model as Export};
pub use edits::ExportKind;
pub use life::{
    Cancelled, Completion, Finished, ResultFile, advance, cancel, fail, finish, problem, set_progress, warn,
};
pub(crate) use life::{cancel_in, fail_in};
pub use retry::{Retried, retry};
pub use sweep::{drop_segments, ended_before, keeping_segments_since, resumable};

/// An export to be.
#[derive(Debug, Clone)]
pub struct NewExport {
    /// Its id, which the caller may have used for files already.
    pub id: ExportId,
    /// Whose.
    pub tenant_id: TenantId,
    /// What it makes.
    pub kind: ExportKind,
    /// What was asked for.
    pub spec: Json,
    /// The numeric profile; none when nothing is inferred.
    pub profile: Option<Json>,
    /// Output frames.
    pub frames_total: i64,
    /// Made with a simulated device.
    pub simulated: bool,
    /// What it is expected to take.
    pub estimate: Option<Estimated>,
    /// Who asked.
    pub created_by: Option<UserId>,
    /// The reel whose edits were copied in, and its version.
    pub reel: Option<(ReelId, i64)>,
    /// Videos it reads; repetitions do no harm.
    pub sources: Vec<VideoId>,
}

/// What an export is expected to take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Estimated {
    /// Device time.
    pub device_seconds: f64,
    /// Time from start to finish, alone on the node.
    pub wall_seconds: f64,
    /// Price of the device time.
    pub cost: f64,
}

impl Export {
    /// What it was expected to take when it was accepted.
    pub fn estimate(&self) -> Option<Estimated> {
        let (device_seconds, wall_seconds) = (self.estimated_device_seconds?, self.estimated_seconds?);
        Some(Estimated { device_seconds, wall_seconds, cost: self.estimated_cost? })
    }
}

/// Which exports are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only of this kind.
    pub kind: Option<ExportKind>,
    /// Only in this state.
    pub state: Option<ExportState>,
}

/// What came of deleting an export.
#[derive(Debug, Clone, PartialEq)]
pub enum Deleted {
    /// It is gone from the database, and its files can go.
    Gone(Box<Export>),
    /// It is unfinished: cancel it first.
    Unfinished,
    /// There is no such export.
    NotFound,
}

/// Stores a queued export and what it reads.
pub async fn insert(tx: &Transaction, new: NewExport) -> Result<Export> {
    let export = Model {
        id: new.id,
        tenant_id: new.tenant_id,
        kind: KindColumn(new.kind),
        state: ExportState::Queued,
        profile: new.profile,
        attempt: 1,
        progress: 0.0,
        frames_done: 0,
        frames_total: new.frames_total,
        frames_inferred: 0,
        message: String::new(),
        warnings: Json::Array(Vec::new()),
        problem: None,
        device_seconds: 0.0,
        cost: 0.0,
        estimated_device_seconds: new.estimate.map(|estimate| estimate.device_seconds),
        estimated_seconds: new.estimate.map(|estimate| estimate.wall_seconds),
        estimated_cost: new.estimate.map(|estimate| estimate.cost),
        simulated: new.simulated,
        report: None,
        result_key: None,
        result_bytes: None,
        result_etag: None,
        created_at: now(),
        started_at: None,
        finished_at: None,
        created_by: new.created_by,
        reel_id: new.reel.map(|(id, _)| id),
        reel_version: new.reel.map(|(_, version)| version),
    };
    let row = ActiveModel::from(export.clone()).reset_all();
    Entity::insert(row).exec_without_returning(tx.raw()).await.doing("storing an export")?;
    let spec =
        export_spec::ActiveModel { export_id: Set(export.id), tenant_id: Set(export.tenant_id), spec: Set(new.spec) };
    let stored = export_spec::Entity::insert(spec).exec_without_returning(tx.raw()).await;
    stored.doing("storing an export's spec")?;
    let mut sources = new.sources;
    sources.sort();
    sources.dedup();
    let sources =
        sources.into_iter().map(|video| export_source::ActiveModel { export_id: Set(export.id), video_id: Set(video) });
    export_source::Entity::insert_many(sources)
        .exec_without_returning(tx.raw())
        .await
        .referring("a source video", "storing an export's sources")?;
    Ok(export)
}

/// One export of a tenant.
pub async fn get(db: &Database, tenant: TenantId, id: ExportId) -> Result<Option<Export>> {
    let export = Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db.reader()).await;
    export.doing("reading an export")
}

/// What was asked for with an export of a tenant. It may have a megabyte: read it where it is needed and nowhere else.
pub async fn spec(db: &Database, tenant: TenantId, id: ExportId) -> Result<Option<Json>> {
    let row = export_spec::Entity::find_by_id(id).filter(export_spec::Column::TenantId.eq(tenant)).one(db.reader());
    Ok(row.await.doing("reading an export's spec")?.map(|row| row.spec))
}

/// A page of a tenant's exports.
pub async fn list(db: &Database, tenant: TenantId, filter: Filter, page: &PageRequest) -> Result<Page<Export>> {
    list_any(db, Some(tenant), filter, page).await
}

/// A page of one tenant's exports, or of all tenants': for operators.
pub async fn list_any(
    db: &Database,
    tenant: Option<TenantId>,
    filter: Filter,
    page: &PageRequest,
) -> Result<Page<Export>> {
    let mut rows = Entity::find();
    if let Some(tenant) = tenant {
        rows = rows.filter(Column::TenantId.eq(tenant));
    }
    if let Some(kind) = filter.kind {
        rows = rows.filter(Column::Kind.eq(KindColumn(kind)));
    }
    if let Some(state) = filter.state {
        rows = rows.filter(Column::State.eq(state));
    }
    page::fetch(rows, Column::Id, |row| row.id.uuid(), page, db.reader(), "listing exports").await
}

/// The export with that id, of any tenant: for operators.
pub async fn find(db: &Database, id: ExportId) -> Result<Option<Export>> {
    Entity::find_by_id(id).one(db.reader()).await.doing("finding an export")
}

/// The export that a claimed job belongs to; `None` when it was deleted.
pub async fn for_worker(db: &Database, job: &Job) -> Result<Option<Export>> {
    get(db, job.tenant_id, job.export_id).await
}

/// How much of a tenant is unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Backlog {
    /// Exports.
    pub exports: u64,
    /// Device seconds that they are still expected to take.
    pub device_seconds: f64,
}

/// What is unfinished of a tenant. With [`crate::tenants::lock`] before it in the transaction, a limit that is checked
/// against it holds until the commit.
pub async fn backlog(tx: &Transaction, tenant: TenantId) -> Result<Backlog> {
    let rows: Vec<(Option<f64>, f64)> = Entity::find()
        .select_only()
        .columns([Column::EstimatedDeviceSeconds, Column::DeviceSeconds])
        .filter(Column::TenantId.eq(tenant))
        .filter(Column::State.is_in(ExportState::UNFINISHED))
        .into_tuple()
        .all(tx.raw())
        .await
        .doing("adding up what is unfinished")?;
    let left = |(expected, done): &(Option<f64>, f64)| (expected.unwrap_or(0.0) - done).max(0.0);
    Ok(Backlog { exports: rows.len() as u64, device_seconds: rows.iter().map(left).sum() })
}

/// The exports of some tenants that are past `queued` and unfinished, and those that ended at or after `since`: those
/// for which progress may have been published since then.
pub async fn moving(db: &Database, tenants: &[TenantId], since: DateTimeUtc) -> Result<Vec<Export>> {
    let working = ExportState::UNFINISHED.into_iter().filter(|state| *state != ExportState::Queued);
    let moving = Column::State.is_in(working).or(Column::FinishedAt.gte(since));
    let rows = Entity::find().filter(Column::TenantId.is_in(tenants.iter().copied())).filter(moving);
    rows.all(db.reader()).await.doing("reading exports in progress")
}

/// Deletes a finished export with its segments, jobs, detections and links.
pub async fn delete(db: &Database, tenant: TenantId, id: ExportId) -> Result<Deleted> {
    let tx = db.begin().await?;
    let Some(export) = lock(&tx, tenant, id).await? else {
        return Ok(Deleted::NotFound);
    };
    if !export.state.is_terminal() {
        return Ok(Deleted::Unfinished);
    }
    detections::delete_in(&tx, Subject::Export(id)).await?;
    links::delete_in(&tx, Subject::Export(id)).await?;
    removals::record_in(&tx, tenant, Subject::Export(id)).await?;
    Entity::delete_by_id(id).exec(tx.raw()).await.doing("deleting an export")?;
    tx.commit().await?;
    Ok(Deleted::Gone(Box::new(export)))
}

/// The export's row, locked until the transaction ends. Taken before any lock on its jobs.
pub(crate) async fn lock(tx: &Transaction, tenant: TenantId, id: ExportId) -> Result<Option<Export>> {
    let rows = Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).lock_exclusive();
    rows.one(tx.raw()).await.doing("locking an export")
}
