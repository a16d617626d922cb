//! Whether a storage and a database belong together. The storage carries a mark with the deployment's id; one without a
//! mark is adopted when it is empty, or when the database knows most owners of its files.

use std::collections::HashSet;
use std::sync::Arc;

use config::redact_url;
use entities::{Database, DeploymentId, deployment};
use serde::Serialize;

use super::{Owner, Storage, StorageError, owner};
use crate::threads::{ThreadError, blocking};

/// The owners of a storage's files, videos and exports, by whether the database has their rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Owners {
    /// How many it has.
    pub known: usize,
    /// How many it does not have.
    pub unknown: usize,
}

/// How a storage relates to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Belonging {
    /// It carries the mark of the database's deployment.
    Own,
    /// It has no mark, and nothing speaks against marking it.
    Adoptable,
    /// It has no mark, and most of its files are unknown to the database.
    Unknown,
    /// It carries another deployment's mark.
    Foreign,
}

/// What is known of a storage and a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StorageStatus {
    /// The id of the database's deployment.
    pub deployment: DeploymentId,
    /// The id in the storage's mark.
    pub mark: Option<DeploymentId>,
    /// The owners of the storage's files.
    pub owners: Owners,
    /// What follows from that.
    pub belonging: Belonging,
}

/// Why a storage is not used with a database. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum AdoptionError {
    #[error(
        "the storage {storage} belongs to deployment {mark}, but the database {database} to deployment {deployment}: \
        set database.url to the database of that deployment, or storage.url to another folder; to give this storage to \
        this database, run `touchline storage adopt`. Nothing was changed or deleted"
    )]
    Foreign { storage: String, mark: DeploymentId, database: String, deployment: DeploymentId },
    #[error(
        "the storage {storage} has no mark of a deployment, and the database {database} does not know {} of the {} \
        videos and exports whose files are in it: set database.url to the database that does, or storage.url to \
        another folder; to give this storage to this database, run `touchline storage adopt`. Nothing was changed \
        or deleted",
        .owners.unknown, .owners.known + .owners.unknown
    )]
    Unknown { storage: String, database: String, owners: Owners },
    #[error(transparent)]
    Database(#[from] entities::Error),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Thread(#[from] ThreadError),
}

/// Decides by the mark and, where there is none, by the owners of the files. A crash may have left some files without a
/// row, so that not every owner has to be known; a database that knows none, or fewer than half, is another's or older
/// than the storage.
fn judge(deployment: DeploymentId, mark: Option<DeploymentId>, owners: Owners) -> Belonging {
    match mark {
        Some(mark) if mark == deployment => Belonging::Own,
        Some(_) => Belonging::Foreign,
        None if owners.unknown == 0 || owners.known > owners.unknown => Belonging::Adoptable,
        None => Belonging::Unknown,
    }
}

/// Reads the mark and looks every owner of a file up.
///
/// # Errors
/// Of the storage and the database.
pub async fn status(db: &Database, storage: &Arc<dyn Storage>) -> Result<StorageStatus, AdoptionError> {
    let deployment = deployment::id(db).await?;
    let mark = mark_of(storage).await?;
    let owners = owners_of(db, storage).await?;
    Ok(StorageStatus { deployment, mark, owners, belonging: judge(deployment, mark, owners) })
}

/// Before a node touches a file: makes sure that the storage is the database's, and marks it where it has no mark.
/// `names` are the URLs of the storage and the database, for errors.
///
/// # Errors
/// [`AdoptionError::Foreign`] and [`AdoptionError::Unknown`]; nothing was changed then.
pub async fn claim(db: &Database, storage: &Arc<dyn Storage>, names: (&str, &str)) -> Result<(), AdoptionError> {
    let deployment = deployment::id(db).await?;
    let mark = mark_of(storage).await?;
    // The files of a marked storage need not be listed.
    let owners = if mark.is_none() { owners_of(db, storage).await? } else { Owners::default() };
    match judge(deployment, mark, owners) {
        Belonging::Own => return Ok(()),
        Belonging::Adoptable => {}
        Belonging::Unknown => {
            let (storage, database) = (redact_url(names.0), redact_url(names.1));
            return Err(AdoptionError::Unknown { storage, database, owners });
        }
        Belonging::Foreign => return Err(foreign(deployment, mark, names)),
    }
    if owners.known == 0 && deployment::has_media(db).await? {
        tracing::warn!(storage = names.0, "the storage is empty although the database has videos; is it mounted?");
    }
    write_mark(storage, deployment, false).await?;
    // Of two deployments that find the same empty storage, one is first.
    let marked = mark_of(storage).await?;
    if marked != Some(deployment) {
        return Err(foreign(deployment, marked, names));
    }
    tracing::info!(storage = names.0, %deployment, files_of = owners.known, "the storage was marked");
    Ok(())
}

/// Marks the storage as the database's, whatever mark it carries, also a damaged one.
///
/// # Errors
/// Of the storage and the database.
pub async fn adopt(db: &Database, storage: &Arc<dyn Storage>) -> Result<(), AdoptionError> {
    write_mark(storage, deployment::id(db).await?, true).await
}

/// Whether the storage still carries the mark of the database's deployment: it may have been adopted by another one, or
/// another folder mounted in its place, while the node runs.
///
/// # Errors
/// Of the storage and the database.
pub async fn is_own(db: &Database, storage: &Arc<dyn Storage>) -> Result<bool, AdoptionError> {
    Ok(mark_of(storage).await? == Some(deployment::id(db).await?))
}

fn foreign(deployment: DeploymentId, mark: Option<DeploymentId>, names: (&str, &str)) -> AdoptionError {
    let (storage, database) = (redact_url(names.0), redact_url(names.1));
    AdoptionError::Foreign { storage, mark: mark.unwrap_or(deployment), database, deployment }
}

async fn mark_of(storage: &Arc<dyn Storage>) -> Result<Option<DeploymentId>, AdoptionError> {
    let storage = Arc::clone(storage);
    Ok(blocking("reading the storage's mark", move || storage.mark()).await??)
}

async fn write_mark(storage: &Arc<dyn Storage>, id: DeploymentId, anew: bool) -> Result<(), AdoptionError> {
    let storage = Arc::clone(storage);
    Ok(blocking("marking the storage", move || storage.set_mark(id, anew)).await??)
}

async fn owners_of(db: &Database, storage: &Arc<dyn Storage>) -> Result<Owners, AdoptionError> {
    let store = Arc::clone(storage);
    let files = blocking("listing the storage", move || store.list("")).await??;
    let owners: HashSet<Owner> = files.iter().filter_map(|file| owner(&file.key)).collect();
    let known = super::known(db, owners.iter().copied()).await?;
    let known = owners.iter().filter(|owner| known.contains_key(owner)).count();
    Ok(Owners { known, unknown: owners.len() - known })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_decides_where_there_is_one() {
        let (own, other) = (DeploymentId::new(), DeploymentId::new());
        let strangers = Owners { known: 0, unknown: 9 };
        assert_eq!(judge(own, Some(own), strangers), Belonging::Own);
        assert_eq!(judge(own, Some(other), Owners::default()), Belonging::Foreign);
        assert_eq!(judge(own, Some(other), Owners { known: 9, unknown: 0 }), Belonging::Foreign);
    }

    #[test]
    fn without_a_mark_the_database_must_know_most_owners() {
        let judged = |known, unknown| judge(DeploymentId::new(), None, Owners { known, unknown });
        assert_eq!(judged(0, 0), Belonging::Adoptable, "an empty storage");
        assert_eq!(judged(5, 0), Belonging::Adoptable);
        assert_eq!(judged(5, 2), Belonging::Adoptable, "crashes left two");
        assert_eq!(judged(0, 1), Belonging::Unknown);
        assert_eq!(judged(3, 3), Belonging::Unknown);
    }
}
