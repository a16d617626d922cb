//! Removes what cannot be resumed: uploads that expired, files whose row is gone, refresh
//! tokens past their end.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use actix_web::web;
use chrono::Utc;
use entities::uploads::{self, Upload};
use entities::{TenantId, VideoId, tokens};
use tokio::fs;

use super::state::State;
use super::upload_writer::{path, remove};

/// How often it is swept.
const EVERY: Duration = Duration::from_secs(10 * 60);

/// Sweeps now and then, for ever. A sweep that fails is logged, and tried again next time.
pub async fn sweep_for_ever(state: web::Data<State>) {
    let mut ticks = tokio::time::interval(EVERY);
    loop {
        ticks.tick().await;
        if let Err(error) = sweep_expired(&state).await {
            tracing::warn!(%error, "expired uploads could not be swept");
        }
        // Also those whose file could not be removed when they ended.
        if let Err(error) = sweep_orphans(&state).await {
            tracing::warn!(%error, "files of lost uploads could not be swept");
        }
    }
}

async fn sweep_expired(state: &State) -> Result<(), entities::Error> {
    for Upload { id, tenant_id, .. } in uploads::expired(&state.db).await? {
        // One that is being written to is alive after all.
        let Some(_lock) = state.writing.lock(id) else { continue };
        if uploads::delete(&state.db, tenant_id, id).await? {
            remove(path(state, tenant_id, id)).await;
            tracing::info!(upload = %id, tenant = %tenant_id, "an expired upload was swept");
        }
    }
    tokens::forget_expired(&state.db, Utc::now()).await?;
    Ok(())
}

/// Files without a row: a crash came between the end of both, or the file could not be removed.
async fn sweep_orphans(state: &State) -> anyhow::Result<()> {
    for (tenant, folder) in entries::<TenantId>(state.uploads_dir.clone()).await? {
        let files = entries::<VideoId>(folder).await.unwrap_or_else(|error| {
            tracing::warn!(%tenant, %error, "the uploads of a tenant cannot be listed");
            Vec::new()
        });
        for (upload, file) in files {
            // Read before it is locked: a client that resumes its upload right now must not be asked to wait.
            if uploads::get(&state.db, tenant, upload).await?.is_some() {
                continue;
            }
            let Some(_lock) = state.writing.lock(upload) else { continue };
            if uploads::get(&state.db, tenant, upload).await?.is_none() {
                remove(file).await;
            }
        }
    }
    Ok(())
}

/// The entries of a folder that are named by ids; none when there is no folder.
async fn entries<T: FromStr>(folder: PathBuf) -> std::io::Result<Vec<(T, PathBuf)>> {
    let mut found = Vec::new();
    let mut listing = match fs::read_dir(&folder).await {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    while let Some(entry) = listing.next_entry().await? {
        if let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            found.push((id, entry.path()));
        }
    }
    Ok(found)
}
