//! The actor that enforces retention: it deletes exports past their time, segments of failed exports that
//! were not retried, expired keys, and, once at the start, files that a crash left without a row.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, WrapFuture};
use chrono::{TimeDelta, Utc};
use entities::exports::{self, ExportState};
use entities::videos::{self, VideoState};
use entities::{ExportId, TenantId, VideoId, idempotency, segments, uploads};

use crate::context::NodeContext;
use crate::exports::error::RequestError;
use crate::exports::service::Exports;
use crate::storage::{self, Owner, StorageError};
use crate::threads::{ThreadError, blocking};

/// How often it sweeps.
const EVERY: Duration = Duration::from_secs(10 * 60);

/// See the [module](self).
pub struct Sweeper {
    context: Arc<NodeContext>,
    exports: Exports,
    /// The owners of files at the start, until they are checked.
    found: Option<Vec<Owner>>,
}

impl Sweeper {
    /// A sweeper that first checks what [`before_work`] found.
    pub fn new(context: Arc<NodeContext>, exports: Exports, found: Vec<Owner>) -> Self {
        Self { context, exports, found: Some(found) }
    }

    fn sweep(&mut self, ctx: &mut Context<Self>) {
        let (context, exports, found) = (Arc::clone(&self.context), self.exports.clone(), self.found.take());
        let sweep = async move {
            if let Some(found) = found {
                sweep_orphans(&context, found).await;
            }
            if let Err(error) = sweep_expired(&context, &exports).await {
                tracing::warn!(%error, "what has expired could not be swept; the next sweep tries again");
            }
        };
        ctx.spawn(sweep.into_actor(self));
    }
}

impl Actor for Sweeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.sweep(ctx);
        ctx.run_interval(EVERY, Self::sweep);
    }
}

/// Why a sweep was not completed; the next one tries again.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error(transparent)]
    Database(#[from] entities::Error),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("deleting an export past its time: {0}")]
    Delete(#[from] RequestError),
    #[error(transparent)]
    Thread(#[from] ThreadError),
}

/// Before any job is claimed: removes files that a crash left in the folders of exports that go on, and may go on with
/// a retry. Returns the owners of the other files, to be checked while work goes on.
pub async fn before_work(context: &NodeContext) -> Result<Vec<Owner>, SweepError> {
    let store = Arc::clone(&context.storage);
    let keys = blocking("listing the storage", move || store.list()).await??;
    let mut owners: HashMap<Owner, Vec<String>> = HashMap::new();
    for key in keys {
        if let Some(owner) = storage::owner(&key) {
            owners.entry(owner).or_default().push(key);
        }
    }
    // On a shared database another node may be about to commit a file's row.
    if !context.db.is_shared() {
        for (tenant, id) in exports::resumable(&context.db).await? {
            let Some(keys) = owners.remove(&Owner::Export(tenant, id)) else { continue };
            let rows = segments::list(&context.db, tenant, id).await?;
            let known: HashSet<String> = rows.into_iter().map(|row| row.storage_key).collect();
            delete(context, keys.into_iter().filter(|key| !known.contains(key)).collect()).await?;
        }
    }
    Ok(owners.into_keys().collect())
}

async fn delete(context: &NodeContext, keys: Vec<String>) -> Result<(), SweepError> {
    let store = Arc::clone(&context.storage);
    let delete = move || keys.iter().try_for_each(|key| store.delete(key));
    Ok(blocking("removing what a crash left", delete).await??)
}

async fn sweep_orphans(context: &NodeContext, found: Vec<Owner>) {
    for owner in found {
        let swept = match owner {
            Owner::Video(tenant, id) => sweep_video(context, tenant, id).await,
            Owner::Export(tenant, id) => sweep_export(context, tenant, id).await,
        };
        if let Err(error) = swept {
            tracing::warn!(?owner, %error, "what a crash may have left could not be swept");
        }
    }
}

/// Removes a video's files unless it is, or may still become, a video.
async fn sweep_video(context: &NodeContext, tenant: TenantId, id: VideoId) -> Result<(), SweepError> {
    // In this order: the upload ends in the very transaction with which the video begins.
    if uploads::get(&context.db, tenant, id).await?.is_some() {
        return Ok(());
    }
    let video = videos::get(&context.db, tenant, id).await?;
    if video.is_some_and(|video| video.state != VideoState::Failed) {
        return Ok(());
    }
    remove_all_but(context, storage::video_prefix(tenant, id), HashSet::new()).await
}

/// Of a complete export only the result stays; of one that is gone, nothing.
async fn sweep_export(context: &NodeContext, tenant: TenantId, id: ExportId) -> Result<(), SweepError> {
    let kept = match exports::get(&context.db, tenant, id).await? {
        None => HashSet::new(),
        Some(export) if export.state == ExportState::Complete => export.result_key.into_iter().collect(),
        // It goes on, or may with a retry.
        Some(_) => return Ok(()),
    };
    remove_all_but(context, storage::export_prefix(tenant, id), kept).await
}

async fn remove_all_but(context: &NodeContext, prefix: String, kept: HashSet<String>) -> Result<(), SweepError> {
    let store = Arc::clone(&context.storage);
    Ok(blocking("removing what a crash left", move || store.delete_all_but(&prefix, &kept)).await??)
}

async fn sweep_expired(context: &NodeContext, service: &Exports) -> Result<(), SweepError> {
    let retention = &context.settings.retention;
    if retention.exports_days > 0 {
        let oldest = Utc::now() - TimeDelta::days(i64::from(retention.exports_days));
        for (tenant, export) in exports::ended_before(&context.db, oldest).await? {
            service.delete(tenant, export).await?;
            tracing::info!(%export, %tenant, "an export past its time was deleted");
        }
    }
    if retention.segments_hours > 0 {
        let oldest = Utc::now() - TimeDelta::hours(i64::from(retention.segments_hours));
        for (tenant, export) in exports::keeping_segments_since(&context.db, oldest).await? {
            if exports::drop_segments(&context.db, tenant, export).await? {
                remove_all_but(context, storage::export_prefix(tenant, export), HashSet::new()).await?;
            }
        }
    }
    idempotency::forget_expired(&context.db).await?;
    Ok(())
}
