//! Refresh tokens: exchanged for the next one of their family, once. A second use means that a token
//! was copied, and revokes the family (RFC 9700 §4.14.2).

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, QuerySelect, entity::prelude::*};

use crate::{
    Database, Result, TokenFamily, TokenId, UserId,
    error::Doing,
    now,
    rows::{
        refresh_token::{ActiveModel, Column, Entity, Model},
        tenant::{self, Model as Tenant},
        user::{self, Model as User},
    },
};

pub use crate::rows::refresh_token::Model as RefreshToken;

/// What came of handing in a refresh token.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one value a request, taken apart at once")]
pub enum Rotation {
    /// Its successor, the user, and the tenant, whose state the caller checks.
    Fresh {
        /// The next token of the family.
        token: RefreshToken,
        /// Whose it is.
        user: User,
        /// The user's tenant.
        tenant: Tenant,
    },
    /// It had been used before: its whole family is revoked now.
    Reused,
    /// Unknown, expired or revoked.
    Refused,
}

/// The first token of a new family, after a login.
pub async fn issue(db: &Database, user: &User, expires_at: DateTime<Utc>) -> Result<RefreshToken> {
    insert(db.writer(), user, TokenFamily::new(), expires_at).await
}

async fn insert(
    db: &impl ConnectionTrait,
    user: &User,
    family: TokenFamily,
    expires_at: DateTime<Utc>,
) -> Result<RefreshToken> {
    let token = Model {
        id: TokenId::new(),
        family,
        user_id: user.id,
        tenant_id: user.tenant_id,
        expires_at,
        used_at: None,
        revoked_at: None,
    };
    let row = ActiveModel::from(token.clone()).reset_all();
    Entity::insert(row).exec_without_returning(db).await.doing("issuing a refresh token")?;
    Ok(token)
}

/// Exchanges a token for the next one of its family.
pub async fn rotate(db: &Database, id: TokenId, expires_at: DateTime<Utc>) -> Result<Rotation> {
    let tx = db.begin().await?;
    let token = Entity::find_by_id(id).lock_exclusive().one(tx.raw()).await.doing("reading a refresh token")?;
    let Some(token) = token.filter(|token| token.revoked_at.is_none() && token.expires_at > now()) else {
        return Ok(Rotation::Refused);
    };
    if token.used_at.is_some() {
        revoke(tx.raw(), token.user_id, token.family).await?;
        tx.commit().await?;
        return Ok(Rotation::Reused);
    }
    let user = user::Entity::find_by_id(token.user_id).one(tx.raw()).await.doing("reading a user")?;
    let tenant = tenant::Entity::find_by_id(token.tenant_id).one(tx.raw()).await.doing("reading a tenant")?;
    let (Some(user), Some(tenant)) = (user, tenant) else {
        return Ok(Rotation::Refused);
    };
    let used = ActiveModel { used_at: Set(Some(now())), ..Default::default() };
    Entity::update_many().set(used).filter(Column::Id.eq(id)).exec(tx.raw()).await.doing("using a refresh token")?;
    let token = insert(tx.raw(), &user, token.family, expires_at).await?;
    tx.commit().await?;
    Ok(Rotation::Fresh { token, user, tenant })
}

/// Ends the family of a user's token, at logout; false when the user has no such token.
pub async fn revoke_family_of(db: &Database, user: UserId, id: TokenId) -> Result<bool> {
    let token = Entity::find_by_id(id).filter(Column::UserId.eq(user)).one(db.reader()).await;
    match token.doing("reading a refresh token")? {
        Some(token) => revoke(db.writer(), user, token.family).await.map(|()| true),
        None => Ok(false),
    }
}

/// Ends every family of a user.
pub async fn revoke_all(db: &Database, user: UserId) -> Result<u64> {
    revoke_all_in(db.writer(), user).await
}

pub(crate) async fn revoke_all_in(db: &impl ConnectionTrait, user: UserId) -> Result<u64> {
    let revoked = ActiveModel { revoked_at: Set(Some(now())), ..Default::default() };
    let updated = Entity::update_many()
        .set(revoked)
        .filter(Column::UserId.eq(user))
        .filter(Column::RevokedAt.is_null())
        .exec(db)
        .await;
    Ok(updated.doing("revoking a user's refresh tokens")?.rows_affected)
}

async fn revoke(db: &impl ConnectionTrait, user: UserId, family: TokenFamily) -> Result<()> {
    let revoked = ActiveModel { revoked_at: Set(Some(now())), ..Default::default() };
    Entity::update_many()
        .set(revoked)
        .filter(Column::UserId.eq(user))
        .filter(Column::Family.eq(family))
        .filter(Column::RevokedAt.is_null())
        .exec(db)
        .await
        .doing("revoking a family of refresh tokens")?;
    Ok(())
}

/// Forgets tokens that expired before `before`; how many there were.
pub async fn forget_expired(db: &Database, before: DateTime<Utc>) -> Result<u64> {
    let deleted = Entity::delete_many().filter(Column::ExpiresAt.lt(before)).exec(db.writer()).await;
    Ok(deleted.doing("forgetting expired refresh tokens")?.rows_affected)
}
