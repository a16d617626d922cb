//! The deployment that a database is of, and which owners of stored files its rows know.

use std::collections::HashMap;

use sea_orm::{ActiveValue::Set, ConnectionTrait, DbErr, QuerySelect, entity::prelude::*};

use crate::{
    Database, DeploymentId, Error, ExportId, Result, TenantId, VideoId,
    error::Doing,
    now,
    rows::{
        deployment::{ActiveModel, Entity},
        export::{self, ExportState},
        upload,
        video::{self, VideoState},
    },
};

/// Ids in one query: below the number of parameters that SQLite and PostgreSQL allow.
const CHUNK: usize = 500;

/// Gives a database that has none its deployment id. The caller holds the lock under which one process migrates.
pub(crate) async fn ensure(tx: &impl ConnectionTrait) -> std::result::Result<(), DbErr> {
    if Entity::find().one(tx).await?.is_none() {
        let row = ActiveModel { id: Set(DeploymentId::new()), created_at: Set(now()) };
        Entity::insert(row).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// The id of the deployment that this database is of. A copy of the database has the same one.
pub async fn id(db: &Database) -> Result<DeploymentId> {
    let doing = "reading the deployment's id";
    let row = Entity::find().one(db.reader()).await.doing(doing)?;
    let missing = || Error::Query { doing, source: DbErr::RecordNotFound("the table `deployment` is empty".into()) };
    row.map(|row| row.id).ok_or_else(missing)
}

/// The tenants and states of those of `ids` that are videos, or uploads that may become one (state `None`).
pub async fn known_videos(db: &Database, ids: &[VideoId]) -> Result<HashMap<(TenantId, VideoId), Option<VideoState>>> {
    let mut known = HashMap::new();
    for ids in ids.chunks(CHUNK) {
        // In this order: an upload ends in the very transaction with which its video begins.
        let uploads: Vec<(TenantId, VideoId)> = upload::Entity::find()
            .select_only()
            .columns([upload::Column::TenantId, upload::Column::Id])
            .filter(upload::Column::Id.is_in(ids.iter().copied()))
            .into_tuple()
            .all(db.reader())
            .await
            .doing("finding the uploads of files")?;
        known.extend(uploads.into_iter().map(|owner| (owner, None)));
        let videos: Vec<(TenantId, VideoId, VideoState)> = video::Entity::find()
            .select_only()
            .columns([video::Column::TenantId, video::Column::Id, video::Column::State])
            .filter(video::Column::Id.is_in(ids.iter().copied()))
            .into_tuple()
            .all(db.reader())
            .await
            .doing("finding the videos of files")?;
        known.extend(videos.into_iter().map(|(tenant, id, state)| ((tenant, id), Some(state))));
    }
    Ok(known)
}

/// An export as far as its files are concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownExport {
    /// Where it is.
    pub state: ExportState,
    /// The attempt that it is in, or ended in.
    pub attempt: i32,
    /// The key of its result.
    pub result_key: Option<String>,
}

/// The tenants and states of those of `ids` that are exports.
pub async fn known_exports(db: &Database, ids: &[ExportId]) -> Result<HashMap<(TenantId, ExportId), KnownExport>> {
    use export::Column::{Attempt, Id, ResultKey, State, TenantId as Tenant};
    let mut known = HashMap::new();
    for ids in ids.chunks(CHUNK) {
        let exports: Vec<(TenantId, ExportId, ExportState, i32, Option<String>)> = export::Entity::find()
            .select_only()
            .columns([Tenant, Id, State, Attempt, ResultKey])
            .filter(Id.is_in(ids.iter().copied()))
            .into_tuple()
            .all(db.reader())
            .await
            .doing("finding the exports of files")?;
        let known_export =
            |(tenant, id, state, attempt, result_key)| ((tenant, id), KnownExport { state, attempt, result_key });
        known.extend(exports.into_iter().map(known_export));
    }
    Ok(known)
}

/// Whether the database has a row whose files would be in a storage: a video or an export.
pub async fn has_media(db: &Database) -> Result<bool> {
    let doing = "checking for videos and exports";
    let videos = video::Entity::find().select_only().column(video::Column::Id).into_tuple::<VideoId>();
    let exports = export::Entity::find().select_only().column(export::Column::Id).into_tuple::<ExportId>();
    Ok(videos.one(db.reader()).await.doing(doing)?.is_some() || exports.one(db.reader()).await.doing(doing)?.is_some())
}
