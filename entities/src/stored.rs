//! What a tenant stores, as its limit of bytes counts it: open uploads by the length that they will have, videos, and
//! results of exports.
//!
//! Everything that adds to it locks the tenant's row first ([`crate::tenants::lock`]) and checks in the same
//! transaction, so two uploads or exports at the same instant cannot both take the last room. What is deleted is free
//! with the commit of the deletion.

use sea_orm::{ExprTrait, QuerySelect, entity::prelude::*};

use crate::{
    Database, Result, TenantId, Transaction,
    error::Doing,
    rows::{export, upload, video},
    tenants,
};

/// Bytes that a tenant stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stored {
    /// Of uploads that are not finished, as they were announced.
    pub uploads: u64,
    /// Of videos.
    pub videos: u64,
    /// Of results.
    pub results: u64,
}

impl Stored {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.uploads.saturating_add(self.videos).saturating_add(self.results)
    }
}

/// There is no room: nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the tenant stores {stored} of {room} bytes, open uploads and results included, and {more} more do not fit; \
     delete something to make room"
)]
pub struct StorageFull {
    /// Bytes that it stores.
    pub stored: u64,
    /// Bytes that it was to store in addition.
    pub more: u64,
    /// Bytes that it may store.
    pub room: u64,
}

/// What a tenant stores.
pub async fn of(db: &Database, tenant: TenantId) -> Result<Stored> {
    sum(db.reader(), tenant).await
}

/// Whether what a tenant stores is within `room` bytes, for instance after the limit was lowered.
pub async fn check(db: &Database, tenant: TenantId, room: u64) -> Result<std::result::Result<(), StorageFull>> {
    let tx = db.begin().await?;
    let checked = check_in(&tx, tenant, 0, room).await?;
    tx.commit().await?;
    Ok(checked)
}

/// Whether `more` bytes fit in `room`, until `tx` ends. Locks the tenant's row.
pub(crate) async fn check_in(
    tx: &Transaction,
    tenant: TenantId,
    more: u64,
    room: u64,
) -> Result<std::result::Result<(), StorageFull>> {
    tenants::lock(tx, tenant).await?;
    let stored = sum(tx.raw(), tenant).await?.total();
    Ok(fits(stored, more, room))
}

fn fits(stored: u64, more: u64, room: u64) -> std::result::Result<(), StorageFull> {
    if stored.saturating_add(more) > room { Err(StorageFull { stored, more, room }) } else { Ok(()) }
}

async fn sum(db: &impl ConnectionTrait, tenant: TenantId) -> Result<Stored> {
    let doing = "adding up what a tenant stores";
    let bytes = |found: Option<Option<i64>>| found.flatten().map_or(0, i64::unsigned_abs);
    let uploads = upload::Entity::find()
        .select_only()
        .column_as(upload::Column::Length.sum().cast_as("bigint"), "sum")
        .filter(upload::Column::TenantId.eq(tenant));
    let videos = video::Entity::find()
        .select_only()
        .column_as(video::Column::Bytes.sum().cast_as("bigint"), "sum")
        .filter(video::Column::TenantId.eq(tenant));
    let results = export::Entity::find()
        .select_only()
        .column_as(export::Column::ResultBytes.sum().cast_as("bigint"), "sum")
        .filter(export::Column::TenantId.eq(tenant));
    Ok(Stored {
        uploads: bytes(uploads.into_tuple().one(db).await.doing(doing)?),
        videos: bytes(videos.into_tuple().one(db).await.doing(doing)?),
        results: bytes(results.into_tuple().one(db).await.doing(doing)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_byte_fits_and_one_more_does_not() {
        assert_eq!(fits(90, 10, 100), Ok(()));
        assert_eq!(fits(91, 10, 100), Err(StorageFull { stored: 91, more: 10, room: 100 }));
        assert_eq!(fits(101, 0, 100), Err(StorageFull { stored: 101, more: 0, room: 100 }), "the limit was lowered");
        assert!(fits(u64::MAX, 10, 100).is_err());
    }
}
