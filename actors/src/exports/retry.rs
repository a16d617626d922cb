//! A new attempt of an export that failed or was cancelled. Its finished segments count on, where their files are still
//! whole and their numeric profile is still to be had; the rest is rendered anew.

use std::collections::HashSet;
use std::sync::Arc;

use entities::exports::{self, Export, Retried};
use entities::segments::{self, Segment};
use entities::{ExportId, TenantId};

use super::admission;
use super::error::RequestError;
use crate::context::NodeContext;
use crate::failpoints::{self, Point};
use crate::inference::profile::ExportProfile;
use crate::storage;
use crate::threads::blocking;

/// Queues `export` again. Nothing of the last attempt may be at work any more.
pub async fn retry(context: &NodeContext, tenant: TenantId, id: ExportId) -> Result<Retried, RequestError> {
    let Some(export) = exports::get(&context.db, tenant, id).await? else {
        return Ok(Retried::NotFound);
    };
    let kept = if is_offered(context, &export) { whole_segments(context, tenant, id).await? } else { Vec::new() };
    let profile = renewed_profile(&export)?;
    let tx = context.db.begin().await?;
    admission::check_room(&tx, context, tenant).await?;
    let retried = exports::retry(&tx, tenant, id, &kept, profile).await?;
    if matches!(retried, Retried::Now(_)) {
        // While the export's row is locked: after the commit a file may be the new attempt's.
        remove_all_but(context, tenant, id, &kept).await?;
        tx.commit().await?;
        failpoints::passed(Point::ExportRetried);
    }
    Ok(retried)
}

/// Whether what is still to be rendered comes out as what was rendered before.
fn is_offered(context: &NodeContext, export: &Export) -> bool {
    let profile: ExportProfile = match serde_json::from_value(export.profile.clone().unwrap_or_default()) {
        Ok(profile) => profile,
        Err(_) => return false,
    };
    let models = [&profile.upscale, &profile.detect];
    profile.libraries == media::library_versions()
        && models.into_iter().flatten().all(|model| context.profiles.offers(model))
}

/// The stored profile, with the libraries of this program: those that will render what is missing.
fn renewed_profile(export: &Export) -> Result<Option<serde_json::Value>, RequestError> {
    let Some(profile) = export.profile.clone() else { return Ok(None) };
    let broken = |error: serde_json::Error| RequestError::Broken(error.to_string());
    let profile: ExportProfile = serde_json::from_value(profile).map_err(broken)?;
    let profile = ExportProfile { libraries: media::library_versions(), ..profile };
    serde_json::to_value(&profile).map(Some).map_err(broken)
}

/// The finished segments whose files have the size they should have.
async fn whole_segments(context: &NodeContext, tenant: TenantId, id: ExportId) -> Result<Vec<Segment>, RequestError> {
    let mut rows = segments::list(&context.db, tenant, id).await?;
    let store = Arc::clone(&context.storage);
    let whole = move || {
        rows.retain(|row| store.size(&row.storage_key).is_ok_and(|bytes| bytes == row.bytes.unsigned_abs()));
        rows
    };
    Ok(blocking("checking the finished segments", whole).await?)
}

/// What the last attempt left beside its finished segments is of no use.
async fn remove_all_but(
    context: &NodeContext,
    tenant: TenantId,
    id: ExportId,
    kept: &[Segment],
) -> Result<(), RequestError> {
    let keys: HashSet<String> = kept.iter().map(|segment| segment.storage_key.clone()).collect();
    let (store, prefix) = (Arc::clone(&context.storage), storage::export_prefix(tenant, id));
    let remove = move || storage::delete_all_but(&*store, &prefix, &keys);
    let removed = blocking("removing the last attempt's files", remove).await?;
    if let Err(error) = removed {
        tracing::warn!(export = %id, %error, "files of an ended attempt could not be removed");
    }
    Ok(())
}
