//! Files that no row accounts for, as crashes leave them. Those whose owner the database does not know are moved to
//! `lost+found` in the storage and deleted some days later; those that their owner's row has done with are deleted.
//!
//! A row is always written before the first file of its owner, so a file whose owner has no row was left behind. Files
//! that have changed a moment ago are judged later all the same. An unfinished export's files are judged only before
//! work begins, on a database that no other node uses: a segment's file is there before its row.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chrono::{NaiveDate, Utc};
use entities::deployment::KnownExport;
use entities::exports::{self, ExportState};
use entities::segments;
use entities::videos::VideoState;

use crate::context::NodeContext;
use crate::storage::adoption::{self, AdoptionError};
use crate::storage::{self, Known, Owner, StorageError, StoredFile};
use crate::threads::{ThreadError, blocking};

/// A file that has changed so lately is left for the second pass.
const FRESH: Duration = Duration::from_secs(5);

/// Why a sweep was not completed; the next one tries again.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error(transparent)]
    Database(#[from] entities::Error),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Adoption(#[from] AdoptionError),
    #[error(transparent)]
    Thread(#[from] ThreadError),
}

/// Before any job is claimed: sets aside files that a crash left in the folders of exports that go on, and may go on
/// with a retry.
pub async fn before_work(context: &NodeContext) -> Result<(), SweepError> {
    // On a shared database another node may be about to commit a file's row.
    if context.db.is_shared() {
        return Ok(());
    }
    for (tenant, id) in exports::resumable(&context.db).await? {
        let (store, prefix) = (Arc::clone(&context.storage), storage::export_prefix(tenant, id));
        let files = blocking("listing an export's files", move || store.list(&prefix)).await??;
        if files.is_empty() {
            continue;
        }
        let rows = segments::list(&context.db, tenant, id).await?;
        let known: HashSet<String> = rows.into_iter().map(|row| row.storage_key).collect();
        let uncommitted = files.into_iter().filter(|file| !known.contains(&file.key)).collect();
        if let Err(error) = set_aside(context, Owner::Export(tenant, id), uncommitted).await {
            // On a full disk, for example. Names have the attempts in them, so that no other file is overwritten.
            tracing::warn!(export = %id, %error, "files that a crash left stay in the export's folder");
        }
    }
    Ok(())
}

/// Goes through the whole storage once, and once more for what was too fresh. `started` is when this process began: on
/// a database of its own it alone writes, and nothing from before is still being written.
pub async fn sweep(context: &NodeContext, started: SystemTime) -> Result<(), SweepError> {
    if !adoption::is_own(&context.db, &context.storage).await? {
        tracing::error!(
            "the storage does not carry this deployment's mark any more; no file in it is moved or deleted"
        );
        return Ok(());
    }
    if pass(context, started).await? {
        tokio::time::sleep(FRESH).await;
        pass(context, started).await?;
    }
    Ok(())
}

/// Judges every owner's files; true when there were some that are too fresh to be judged.
async fn pass(context: &NodeContext, started: SystemTime) -> Result<bool, SweepError> {
    let store = Arc::clone(&context.storage);
    let files = blocking("listing the storage", move || store.list("")).await??;
    let mut owners: HashMap<Owner, Vec<StoredFile>> = HashMap::new();
    for file in files {
        if let Some(owner) = storage::owner(&file.key) {
            owners.entry(owner).or_default().push(file);
        }
    }
    // After the files were listed: a row that is gone by now, and not only missing yet. And only files that were listed
    // are deleted: one that a retry has made since is not among them.
    let known = storage::known(&context.db, owners.keys().copied()).await?;
    let judged = judged_before(SystemTime::now(), started, context.db.is_shared());
    let mut fresh = false;
    for (owner, files) in owners {
        let (ended, kept, unknown) = match verdict(known.get(&owner)) {
            Verdict::Keep => continue,
            Verdict::Delete { kept } => (files, kept, Vec::new()),
            Verdict::DeleteUpTo { attempt } => {
                let (ended, newer) = files.into_iter().partition(|file| storage::attempt_of(&file.key) <= attempt);
                (ended, None, newer)
            }
            Verdict::SetAside => (Vec::new(), None, files),
        };
        let (unknown, new): (Vec<_>, Vec<_>) = unknown.into_iter().partition(|file| file.changed < judged);
        fresh |= !new.is_empty();
        let done = async {
            delete_all_but(context, owner, ended, kept).await?;
            set_aside(context, owner, unknown).await
        };
        if let Err(error) = done.await {
            tracing::warn!(?owner, %error, "what a crash may have left could not be swept");
        }
    }
    Ok(fresh)
}

/// Before which time a file must have changed to be judged.
fn judged_before(now: SystemTime, started: SystemTime, shared: bool) -> SystemTime {
    let before = now.checked_sub(FRESH).unwrap_or(SystemTime::UNIX_EPOCH);
    if shared { before } else { before.max(started.min(now)) }
}

/// What becomes of an owner's files.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// They are in use, or may be again.
    Keep,
    /// The owner's row has done with all but one, at most.
    Delete { kept: Option<String> },
    /// The owner's row has done with those of this attempt and earlier ones. Later ones it does not know: they were made
    /// before an older database was restored.
    DeleteUpTo { attempt: i32 },
    /// The database does not know their owner.
    SetAside,
}

fn verdict(owner: Option<&Known>) -> Verdict {
    match owner {
        None => Verdict::SetAside,
        Some(Known::Video(VideoState::Failed)) => Verdict::Delete { kept: None },
        Some(&Known::Export(KnownExport { state: ExportState::Cancelled, attempt, .. })) => {
            Verdict::DeleteUpTo { attempt }
        }
        Some(Known::Export(KnownExport { state: ExportState::Complete, result_key, .. })) => {
            Verdict::Delete { kept: result_key.clone() }
        }
        // Any other export goes on, or may with a retry.
        Some(Known::Upload | Known::Video(_) | Known::Export(_) | Known::Removed) => Verdict::Keep,
    }
}

async fn delete_all_but(
    context: &NodeContext,
    owner: Owner,
    files: Vec<StoredFile>,
    kept: Option<String>,
) -> Result<(), SweepError> {
    let keys = files.into_iter().map(|file| file.key);
    let keys: Vec<String> = keys.filter(|key| Some(key) != kept.as_ref()).collect();
    if keys.is_empty() {
        return Ok(());
    }
    let (store, prefix) = (Arc::clone(&context.storage), storage::prefix(owner));
    Ok(blocking("removing what a crash left", move || store.delete_files(&prefix, &keys)).await??)
}

/// Moves files to `lost+found`, each with a line in the log.
async fn set_aside(context: &NodeContext, owner: Owner, files: Vec<StoredFile>) -> Result<(), SweepError> {
    if files.is_empty() {
        return Ok(());
    }
    let (store, today) = (Arc::clone(&context.storage), Utc::now().date_naive());
    let (Owner::Video(tenant, _) | Owner::Export(tenant, _)) = owner;
    let days = context.settings.retention.orphans_days;
    let set_aside = move || {
        files.into_iter().try_for_each(|StoredFile { key, bytes, .. }| {
            let moved = store.set_aside(&key, today)?;
            if let Some(moved) = moved {
                tracing::warn!(
                    path = key, bytes, %tenant, moved_to = moved, kept_days = days,
                    "a file without a row was moved to lost+found"
                );
            }
            Ok::<_, storage::StorageError>(())
        })
    };
    Ok(blocking("moving files to lost+found", set_aside).await??)
}

/// Deletes what has been in `lost+found` for longer than it is kept.
pub async fn delete_expired(context: &NodeContext) -> Result<(), SweepError> {
    let (store, today) = (Arc::clone(&context.storage), Utc::now().date_naive());
    let kept_days = context.settings.retention.orphans_days;
    let delete = move || {
        let days = store.days_set_aside()?;
        days.into_iter().filter(|day| is_expired(*day, today, kept_days)).try_for_each(|day| {
            store.delete_set_aside(day)?;
            tracing::info!(%day, "files that were in lost+found for longer than they are kept were deleted");
            Ok::<_, storage::StorageError>(())
        })
    };
    Ok(blocking("emptying lost+found", delete).await??)
}

/// Whether what was set aside on `day` has been kept for `kept_days` whole days; 0 keeps it for ever.
fn is_expired(day: NaiveDate, today: NaiveDate, kept_days: u32) -> bool {
    kept_days > 0 && (today - day).num_days() > i64::from(kept_days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_unknown_owners_are_set_aside() {
        let export = |state, key: Option<&str>| {
            Known::Export(KnownExport { state, attempt: 2, result_key: key.map(str::to_owned) })
        };
        assert_eq!(verdict(None), Verdict::SetAside);
        for known in [
            Known::Upload,
            Known::Removed,
            Known::Video(VideoState::Processing),
            Known::Video(VideoState::Ready),
            export(ExportState::Rendering, None),
            export(ExportState::Publishing, None),
            export(ExportState::Failed, None),
        ] {
            assert_eq!(verdict(Some(&known)), Verdict::Keep, "{known:?}");
        }
        assert_eq!(verdict(Some(&Known::Video(VideoState::Failed))), Verdict::Delete { kept: None });
        let cancelled = export(ExportState::Cancelled, None);
        assert_eq!(verdict(Some(&cancelled)), Verdict::DeleteUpTo { attempt: 2 });
        let complete = export(ExportState::Complete, Some("t/exports/e/result-1-1.mp4"));
        assert_eq!(verdict(Some(&complete)), Verdict::Delete { kept: Some("t/exports/e/result-1-1.mp4".into()) });
    }

    #[test]
    fn a_file_is_judged_when_it_is_old_enough() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let ago = |seconds| now - Duration::from_secs(seconds);
        assert_eq!(judged_before(now, ago(60), true), now - FRESH);
        assert_eq!(judged_before(now, ago(60), false), now - FRESH);
        assert_eq!(judged_before(now, ago(1), false), ago(1), "nothing is written from before the start");
        assert_eq!(judged_before(now, ago(1), true), now - FRESH, "another node may write");
        assert_eq!(judged_before(now, now + FRESH, false), now, "a clock that was set back");
    }

    #[test]
    fn what_is_set_aside_stays_for_whole_days() {
        let day = |day| NaiveDate::from_ymd_opt(2026, 3, day).unwrap();
        assert!(!is_expired(day(1), day(8), 7));
        assert!(is_expired(day(1), day(9), 7));
        assert!(!is_expired(day(1), day(31), 0));
        assert!(!is_expired(day(9), day(1), 7), "a clock that was set back");
    }
}
