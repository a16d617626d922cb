//! Removes the files of videos and exports whose rows are gone, or have done with them. What fails is recorded
//! ([`entities::removals`]) and tried again by the [file remover](crate::file_remover).

use std::collections::HashSet;
use std::sync::Arc;

use entities::exports::ExportState;
use entities::removals;
use entities::videos::{self, VideoState};
use entities::{ExportId, Subject, TenantId, VideoId, exports, segments};

use crate::context::NodeContext;
use crate::storage::{self, StorageError};
use crate::threads::{ThreadError, blocking};

/// Why files were not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    #[error(transparent)]
    Database(#[from] entities::Error),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Thread(#[from] ThreadError),
}

/// Removes the files of a video whose row was deleted or made failed just now. Where that fails it is tried again
/// later.
pub async fn remove_video_files(context: &NodeContext, tenant: TenantId, video: VideoId) {
    if let Err(error) = remove_video(context, tenant, video).await {
        tracing::warn!(%video, %tenant, %error, "files of a video could not be removed; they are tried again");
        record(context, tenant, Subject::Video(video)).await;
    }
}

/// [`remove_video_files`] for an export that was deleted or cancelled, or whose segments were dropped.
pub async fn remove_export_files(context: &NodeContext, tenant: TenantId, export: ExportId) {
    if let Err(error) = remove_export(context, tenant, export).await {
        tracing::warn!(%export, %tenant, %error, "files of an export could not be removed; they are tried again");
        record(context, tenant, Subject::Export(export)).await;
    }
}

/// Records files that could not be removed, to be tried again.
async fn record(context: &NodeContext, tenant: TenantId, subject: Subject) {
    if let Err(error) = removals::record(&context.db, tenant, subject).await {
        // Of a deleted row there is a record since its deletion.
        tracing::warn!(?subject, %error, "a failed removal of files could not be recorded");
    }
}

/// Removes the files of a video whose row is gone or failed, and forgets that they are to be removed.
///
/// # Errors
/// See [`RemoveError`]; it may be tried again.
pub async fn remove_video(context: &NodeContext, tenant: TenantId, video: VideoId) -> Result<(), RemoveError> {
    let row = videos::get(&context.db, tenant, video).await?;
    if row.is_none_or(|row| row.state == VideoState::Failed) {
        remove(context, storage::video_prefix(tenant, video)).await?;
    }
    Ok(removals::forget(&context.db, Subject::Video(video)).await?)
}

async fn remove_export(context: &NodeContext, tenant: TenantId, export: ExportId) -> Result<(), RemoveError> {
    let prefix = storage::export_prefix(tenant, export);
    // Listed before the row is read: what a retry at another node makes after that is not among them.
    let (store, listed) = (Arc::clone(&context.storage), prefix.clone());
    let files = blocking("listing an export's files", move || store.list(&listed)).await??;
    match exports::get(&context.db, tenant, export).await? {
        None => remove(context, prefix).await?,
        Some(row) if matches!(row.state, ExportState::Cancelled | ExportState::Failed) => {
            // Those of a cancelled export are forgotten; those of a failed one may be of use to a retry.
            let rows = segments::list(&context.db, tenant, export).await?;
            let kept: HashSet<String> = rows.into_iter().map(|row| row.storage_key).collect();
            // A later attempt than the row knows of was made before an older database was restored.
            let is_done_with = |key: &String| storage::attempt_of(key) <= row.attempt && !kept.contains(key);
            let keys: Vec<String> = files.into_iter().map(|file| file.key).filter(is_done_with).collect();
            let store = Arc::clone(&context.storage);
            blocking("removing files", move || store.delete_files(&prefix, &keys)).await??;
        }
        // After a retry the files are those of the new attempt.
        Some(_) => {}
    }
    Ok(removals::forget(&context.db, Subject::Export(export)).await?)
}

async fn remove(context: &NodeContext, prefix: String) -> Result<(), RemoveError> {
    let store = Arc::clone(&context.storage);
    Ok(blocking("removing files", move || store.delete_prefix(&prefix)).await??)
}
