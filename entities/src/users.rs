//! Users: people who log in.

use sea_orm::{
    ActiveValue::{NotSet, Set},
    ExprTrait, QuerySelect,
    entity::prelude::*,
};

use crate::{
    Database, Result, TenantId, UserId,
    error::Doing,
    now,
    page::{self, Page, PageRequest},
    rows::{
        tenant,
        user::{ActiveModel, Column, Entity, Model},
    },
    tenants::{self, Tenant},
    tokens,
};

pub use crate::rows::user::{Model as User, Role};

/// A user to be.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Whose user.
    pub tenant_id: TenantId,
    /// Kept in lower case; unique in the deployment.
    pub email: String,
    /// Argon2id, in PHC string format.
    pub password_hash: String,
    /// What the user may do.
    pub role: Role,
}

/// Creates a user. An e-mail address in use anywhere in the deployment is [`crate::Error::Taken`].
pub async fn create(db: &Database, new: NewUser) -> Result<User> {
    insert(db.writer(), new).await
}

async fn insert(db: &impl ConnectionTrait, new: NewUser) -> Result<User> {
    let user = Model {
        id: UserId::new(),
        tenant_id: new.tenant_id,
        email: normal_email(&new.email),
        password_hash: new.password_hash,
        role: new.role,
        created_at: now(),
        session_epoch: 0,
    };
    let taken = || format!("the e-mail address {}", user.email);
    let row = ActiveModel::from(user.clone()).reset_all();
    Entity::insert(row).exec_without_returning(db).await.unique(taken, "creating a user")?;
    Ok(user)
}

/// What is changed of a user; None stays.
#[derive(Debug, Clone, Default)]
pub struct UserChange {
    /// An address in use anywhere in the deployment is [`crate::Error::Taken`].
    pub email: Option<String>,
    /// Argon2id, in PHC string format. A new one ends every session of the user.
    pub password_hash: Option<String>,
    /// What the user may do.
    pub role: Option<Role>,
}

/// Changes a user of a tenant; `None` when there is none.
pub async fn change(db: &Database, tenant: TenantId, id: UserId, change: UserChange) -> Result<Option<User>> {
    let tx = db.begin().await?;
    let email = change.email.as_deref().map(normal_email);
    let taken = || format!("the e-mail address {}", email.clone().unwrap_or_default());
    let new_password = change.password_hash.is_some();
    let row = ActiveModel {
        email: email.clone().map_or(NotSet, Set),
        password_hash: change.password_hash.map_or(NotSet, Set),
        role: change.role.map_or(NotSet, Set),
        ..Default::default()
    };
    if row.is_changed() {
        let own = Entity::update_many().set(row).filter(Column::Id.eq(id)).filter(Column::TenantId.eq(tenant));
        let next_epoch = Expr::col(Column::SessionEpoch).add(1);
        let own = if new_password { own.col_expr(Column::SessionEpoch, next_epoch) } else { own };
        own.exec(tx.raw()).await.unique(taken, "changing a user")?;
    }
    let user = Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(tx.raw()).await;
    let user = user.doing("reading a user")?;
    if user.is_some() && new_password {
        tokens::end_all(tx.raw(), id).await?;
    }
    tx.commit().await?;
    Ok(user)
}

/// Deletes a user of a tenant with every login; false when there is none. What the user made stays.
pub async fn delete(db: &Database, tenant: TenantId, id: UserId) -> Result<bool> {
    let deleted = Entity::delete_by_id(id).filter(Column::TenantId.eq(tenant)).exec(db.writer()).await;
    Ok(deleted.doing("deleting a user")?.rows_affected > 0)
}

/// The user of that id, in whichever tenant: for operators.
pub async fn find(db: &Database, id: UserId) -> Result<Option<User>> {
    Entity::find_by_id(id).one(db.reader()).await.doing("finding a user")
}

/// One user of a tenant.
pub async fn get(db: &Database, tenant: TenantId, id: UserId) -> Result<Option<User>> {
    Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db.reader()).await.doing("reading a user")
}

/// A page of a tenant's users.
pub async fn list(db: &Database, tenant: TenantId, page: &PageRequest) -> Result<Page<User>> {
    let rows = Entity::find().filter(Column::TenantId.eq(tenant));
    page::fetch(rows, Column::Id, |row| row.id.uuid(), page, db.reader(), "listing users").await
}

/// The user who logs in with this address, with the tenant, whose state the caller checks. Asks the database the same
/// number of questions for an address without a user, so that the time it takes does not reveal which addresses have one.
pub async fn find_for_login(db: &Database, email: &str) -> Result<Option<(User, Tenant)>> {
    let user = Entity::find().filter(Column::Email.eq(normal_email(email))).one(db.reader()).await;
    let user = user.doing("finding a user by e-mail address")?;
    let tenant = user.as_ref().map_or_else(TenantId::new, |user| user.tenant_id);
    let tenant = tenant::Entity::find_by_id(tenant).one(db.reader()).await.doing("reading a tenant")?;
    Ok(user.zip(tenant))
}

/// On a deployment without users: makes the tenant `tenant_name`, unless it exists, and this user in it. `None` when
/// there is a user already.
pub async fn create_first(
    db: &Database,
    tenant_name: &str,
    email: &str,
    password_hash: &str,
    role: Role,
) -> Result<Option<(User, Tenant)>> {
    let tx = db.begin().await?;
    let any = Entity::find().limit(1).one(tx.raw()).await.doing("checking for a first user")?;
    if any.is_some() {
        return Ok(None);
    }
    let tenant = match tenants::named(tx.raw(), tenant_name).await? {
        Some(tenant) => tenant,
        None => tenants::insert(tx.raw(), tenant_name).await?,
    };
    let new = NewUser { tenant_id: tenant.id, email: email.to_owned(), password_hash: password_hash.to_owned(), role };
    let user = insert(tx.raw(), new).await?;
    tx.commit().await?;
    Ok(Some((user, tenant)))
}

/// Is there any user in the deployment?
pub async fn any(db: &Database) -> Result<bool> {
    let one = Entity::find().limit(1).one(db.reader()).await.doing("checking for a first user")?;
    Ok(one.is_some())
}

fn normal_email(email: &str) -> String {
    email.trim().to_lowercase()
}
