//! The history of the live settings. Versions count from 1; 0 stands for the settings of the start, which are in no
//! row.

use sea_orm::{QueryOrder, entity::prelude::*, sea_query::OnConflict};

use crate::{
    Database, Result, UserId,
    audit::{self, Deed},
    error::Doing,
    now,
    page::{self, Page, PageRequest},
    rows::config_version::{ActiveModel, Column, Entity},
};

pub use crate::rows::config_version::Model as ConfigVersion;

/// What came of appending a version.
#[derive(Debug, Clone, PartialEq)]
pub enum Appended {
    /// It is stored.
    Stored(ConfigVersion),
    /// Nothing is stored: the newest version is not the one the caller changed.
    Stale {
        /// The newest version.
        current: i64,
    },
}

/// The newest version; `None` when nothing was ever changed.
pub async fn latest(db: &Database) -> Result<Option<ConfigVersion>> {
    newest(db.reader()).await
}

async fn newest(db: &impl ConnectionTrait) -> Result<Option<ConfigVersion>> {
    let row = Entity::find().order_by_desc(Column::Version).one(db).await;
    row.doing("reading the live settings")
}

/// One version.
pub async fn get(db: &Database, version: i64) -> Result<Option<ConfigVersion>> {
    Entity::find_by_id(version).one(db.reader()).await.doing("reading a version of the live settings")
}

/// A page of the versions, newest first.
pub async fn history(db: &Database, page: &PageRequest) -> Result<Page<ConfigVersion>> {
    page::fetch_by_number(
        Entity::find(),
        Column::Version,
        |row| row.version,
        page,
        db.reader(),
        "listing versions of the live settings",
    )
    .await
}

/// A version to be.
#[derive(Debug, Clone)]
pub struct NewVersion {
    /// The live settings as a whole.
    pub body: Json,
    /// The user who made it, if it was one.
    pub author: Option<UserId>,
    /// The older version whose settings these are.
    pub rolled_back_to: Option<i64>,
}

/// Stores `new` as version `expected + 1`, if `expected` is the newest, and with it the deed in the audit log.
pub async fn append(db: &Database, expected: i64, new: NewVersion, deed: Deed) -> Result<Appended> {
    let tx = db.begin().await?;
    let current = newest(tx.raw()).await?.map_or(0, |row| row.version);
    if current != expected {
        return Ok(Appended::Stale { current });
    }
    let row = ConfigVersion {
        version: expected + 1,
        body: new.body,
        author: new.author,
        created_at: now(),
        rolled_back_to: new.rolled_back_to,
    };
    // Of two writers on PostgreSQL that both saw `expected`, the primary key lets one in.
    let inserted = Entity::insert(ActiveModel::from(row.clone()).reset_all())
        .on_conflict(OnConflict::column(Column::Version).do_nothing().to_owned())
        .exec_without_returning(tx.raw())
        .await
        .doing("storing a version of the live settings")?;
    if inserted == 0 {
        return Ok(Appended::Stale { current: row.version });
    }
    audit::note_in(tx.raw(), deed).await?;
    tx.commit().await?;
    Ok(Appended::Stored(row))
}
