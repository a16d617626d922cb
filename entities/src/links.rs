//! Signed links: who has one may fetch one file until it expires or is revoked.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, entity::prelude::*};

use crate::{
    Database, LinkId, Result, Subject, TenantId, Transaction,
    error::Doing,
    now,
    rows::link::{ActiveModel, Column, Entity, Model},
};

pub use crate::rows::link::Model as Link;

impl Link {
    /// What the link opens.
    pub fn subject(&self) -> Subject {
        Subject::of(self.subject_kind, self.subject_id)
    }

    /// Is it neither expired nor revoked?
    pub fn is_valid(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }
}

/// Makes a link; `None` when the subject is not the tenant's.
pub async fn create(
    db: &Database,
    tenant: TenantId,
    subject: Subject,
    download: bool,
    expires_at: DateTime<Utc>,
) -> Result<Option<Link>> {
    let tx = db.begin().await?;
    if !subject.belongs_to(tenant, tx.raw()).await? {
        return Ok(None);
    }
    let link = Model {
        id: LinkId::new(),
        tenant_id: tenant,
        subject_kind: subject.kind(),
        subject_id: subject.uuid(),
        download,
        expires_at,
        revoked_at: None,
        created_at: now(),
    };
    let row = ActiveModel::from(link.clone()).reset_all();
    Entity::insert(row).exec_without_returning(tx.raw()).await.doing("creating a link")?;
    tx.commit().await?;
    Ok(Some(link))
}

/// One link of a tenant.
pub async fn get(db: &Database, tenant: TenantId, id: LinkId) -> Result<Option<Link>> {
    Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db.reader()).await.doing("reading a link")
}

/// The link with that id, of any tenant. Only for a request whose signature over this id was verified: the
/// signature is the credential, and the row says which tenant it gives access to.
pub async fn signed(db: &Database, id: LinkId) -> Result<Option<Link>> {
    Entity::find_by_id(id).one(db.reader()).await.doing("reading a link")
}

/// Revokes a link; false when there is none. Doing so again changes nothing.
pub async fn revoke(db: &Database, tenant: TenantId, id: LinkId) -> Result<bool> {
    let revoked = ActiveModel { revoked_at: Set(Some(now())), ..Default::default() };
    Entity::update_many()
        .set(revoked)
        .filter(Column::Id.eq(id))
        .filter(Column::TenantId.eq(tenant))
        .filter(Column::RevokedAt.is_null())
        .exec(db.writer())
        .await
        .doing("revoking a link")?;
    let link = Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db.writer()).await;
    Ok(link.doing("reading a link")?.is_some())
}

pub(crate) async fn delete_in(tx: &Transaction, subject: Subject) -> Result<()> {
    Entity::delete_many()
        .filter(Column::SubjectKind.eq(subject.kind()))
        .filter(Column::SubjectId.eq(subject.uuid()))
        .exec(tx.raw())
        .await
        .doing("deleting links")?;
    Ok(())
}
