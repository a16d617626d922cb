//! The audit log: administrative actions and who took them. Entries are only ever added.

use sea_orm::entity::prelude::*;

use crate::{
    AuditId, Database, Result, TenantId,
    error::Doing,
    now,
    page::{self, Page, PageRequest},
    rows::audit::{ActiveModel, Column, Entity, Model},
};

pub use crate::rows::audit::Model as AuditEntry;

/// What is to be remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct Deed {
    /// Whose thing it was; none for the deployment's.
    pub tenant: Option<TenantId>,
    /// Who did it, such as `user ID`.
    pub actor: String,
    /// What was done, such as `tenant.change`.
    pub action: &'static str,
    /// What it was done to: an id or a name.
    pub target: String,
    /// What changed; never a secret.
    pub details: Json,
}

/// Which entries are listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only what was done to this tenant's things.
    pub tenant: Option<TenantId>,
    /// Only this action.
    pub action: Option<String>,
}

/// Remembers a deed.
pub async fn note(db: &Database, deed: Deed) -> Result<()> {
    note_in(db.writer(), deed).await
}

/// [`note`] in the transaction of the deed itself.
pub(crate) async fn note_in(db: &impl ConnectionTrait, deed: Deed) -> Result<()> {
    let row = Model {
        id: AuditId::new(),
        at: now(),
        tenant_id: deed.tenant,
        actor: deed.actor,
        action: deed.action.to_owned(),
        target: deed.target,
        details: deed.details,
    };
    let row = ActiveModel::from(row).reset_all();
    Entity::insert(row).exec_without_returning(db).await.doing("writing the audit log")?;
    Ok(())
}

/// A page of the deployment's log, newest first.
pub async fn list(db: &Database, filter: &Filter, page: &PageRequest) -> Result<Page<AuditEntry>> {
    let mut rows = Entity::find();
    if let Some(tenant) = filter.tenant {
        rows = rows.filter(Column::TenantId.eq(tenant));
    }
    if let Some(action) = &filter.action {
        rows = rows.filter(Column::Action.eq(action));
    }
    page::fetch(rows, Column::Id, |row| row.id.uuid(), page, db.reader(), "listing the audit log").await
}
