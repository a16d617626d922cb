//! What the database knows of the owners of stored files.

use std::collections::HashMap;

use entities::deployment::{KnownExport, known_exports, known_videos};
use entities::videos::VideoState;
use entities::{Database, ExportId, VideoId, removals};

use super::Owner;

/// An owner's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// An upload that may become a video.
    Upload,
    Video(VideoState),
    Export(KnownExport),
    /// Its row was deleted, and its files are about to go.
    Removed,
}

/// Those of `owners` that the database has a row of.
///
/// # Errors
/// Of the database.
pub async fn known(
    db: &Database,
    owners: impl Iterator<Item = Owner> + Clone,
) -> Result<HashMap<Owner, Known>, entities::Error> {
    let (mut videos, mut exports): (Vec<VideoId>, Vec<ExportId>) = Default::default();
    for owner in owners.clone() {
        match owner {
            Owner::Video(_, id) => videos.push(id),
            Owner::Export(_, id) => exports.push(id),
        }
    }
    let videos = known_videos(db, &videos)
        .await?
        .into_iter()
        .map(|((tenant, id), state)| (Owner::Video(tenant, id), state.map_or(Known::Upload, Known::Video)));
    let exports = known_exports(db, &exports).await?;
    let exports = exports.into_iter().map(|((tenant, id), export)| (Owner::Export(tenant, id), Known::Export(export)));
    let mut known: HashMap<Owner, Known> = videos.chain(exports).collect();
    // After the rows: a row and the record of its files change in one transaction.
    let removed = removals::pending(db).await?;
    for owner in owners {
        if removed.contains(&owner.uuid()) {
            known.entry(owner).or_insert(Known::Removed);
        }
    }
    Ok(known)
}
