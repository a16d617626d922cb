//! Refresh tokens: each is exchanged for the next one of its family. A token that was exchanged and comes again means that
//! it was copied, and revokes the family (RFC 9700 §4.14.2); except the one that was exchanged a moment ago, which two
//! tabs of a browser send at once: it gives the same successor again.
//!
//! Whatever writes tokens of a user locks the user's row first. So an exchange and a revocation come one after the other,
//! and no successor is written that a revocation beside it does not see.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ActiveValue::Set, QuerySelect, entity::prelude::*, sea_query::LockType};

use crate::{
    Database, Result, TokenFamily, TokenId, UserId,
    error::Doing,
    now,
    rows::{
        refresh_token::{ActiveModel, Column, Entity, Model},
        tenant::{self, Model as Tenant},
        user::{self, Model as User},
    },
    tenants::TenantState,
};

pub use crate::rows::refresh_token::Model as RefreshToken;

/// How long a token that was exchanged still gives its successor, as long as that was not exchanged itself.
pub const GRACE: TimeDelta = TimeDelta::seconds(10);

/// What came of handing in a refresh token.
#[derive(Debug, Clone, PartialEq)]
pub enum Rotation {
    /// It was exchanged, now or within [`GRACE`].
    Fresh {
        /// The next token of the family.
        token: RefreshToken,
        /// Whose it is.
        user: User,
    },
    /// The tenant is suspended. The token is not spent: it works again when the tenant is active.
    Suspended(Tenant),
    /// It had been exchanged before: its whole family is revoked now.
    Reused,
    /// Unknown, expired or revoked.
    Refused,
}

/// What is stored with a new token.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// When it ends.
    pub expires_at: DateTime<Utc>,
    /// Names the network that it is issued to; see [`is_known_network`].
    pub network: Option<String>,
}

/// The first token of a new family, after a login. `None` when the user is gone, or has another password than `user`
/// says: the login was with the former one.
pub async fn issue(db: &Database, user: &User, new: NewToken) -> Result<Option<RefreshToken>> {
    let tx = db.begin().await?;
    let current = lock_user(tx.raw(), user.id).await?;
    if current.is_none_or(|current| current.session_epoch != user.session_epoch) {
        return Ok(None);
    }
    let token = insert(tx.raw(), user, TokenFamily::new(), new).await?;
    tx.commit().await?;
    Ok(Some(token))
}

/// The user, whose tokens no other transaction writes until this one ends. On SQLite there is one writer anyway.
async fn lock_user(db: &impl ConnectionTrait, id: UserId) -> Result<Option<User>> {
    user::Entity::find_by_id(id).lock(LockType::NoKeyUpdate).one(db).await.doing("locking a user")
}

async fn insert(db: &impl ConnectionTrait, user: &User, family: TokenFamily, new: NewToken) -> Result<RefreshToken> {
    let token = Model {
        id: TokenId::new(),
        family,
        user_id: user.id,
        tenant_id: user.tenant_id,
        expires_at: new.expires_at,
        used_at: None,
        revoked_at: None,
        successor: None,
        network: new.network,
    };
    let row = ActiveModel::from(token.clone()).reset_all();
    Entity::insert(row).exec_without_returning(db).await.doing("issuing a refresh token")?;
    Ok(token)
}

async fn find(db: &impl ConnectionTrait, id: TokenId) -> Result<Option<Model>> {
    Entity::find_by_id(id).one(db).await.doing("reading a refresh token")
}

/// What handing in a token that has neither expired nor been revoked amounts to.
#[derive(Debug, Clone, PartialEq)]
enum Use {
    First,
    /// Again within [`GRACE`]: the successor.
    Again(Model),
    Copied,
}

fn judge(token: &Model, successor: Option<Model>, at: DateTime<Utc>) -> Use {
    let Some(used_at) = token.used_at else { return Use::First };
    match successor {
        // The clock of the node that exchanged it may be ahead, which makes the difference negative.
        Some(successor) if successor.used_at.is_none() && at - used_at <= GRACE => Use::Again(successor),
        _ => Use::Copied,
    }
}

/// Exchanges a token for the next one of its family; `new` says what is stored with a token of that user.
pub async fn rotate(db: &Database, id: TokenId, new: impl FnOnce(UserId) -> NewToken) -> Result<Rotation> {
    let tx = db.begin().await?;
    let Some(token) = find(tx.raw(), id).await? else { return Ok(Rotation::Refused) };
    let Some(user) = lock_user(tx.raw(), token.user_id).await? else { return Ok(Rotation::Refused) };
    // Again: another exchange may have ended while this one waited for the lock.
    let at = now();
    let Some(token) = find(tx.raw(), id).await?.filter(|token| token.revoked_at.is_none() && token.expires_at > at)
    else {
        return Ok(Rotation::Refused);
    };
    let successor = match token.successor {
        Some(successor) => find(tx.raw(), successor).await?,
        None => None,
    };
    let usage = judge(&token, successor, at);
    if usage == Use::Copied {
        revoke(tx.raw(), token.user_id, token.family).await?;
        tx.commit().await?;
        return Ok(Rotation::Reused);
    }
    let tenant = tenant::Entity::find_by_id(token.tenant_id).one(tx.raw()).await.doing("reading a tenant")?;
    let Some(tenant) = tenant else { return Ok(Rotation::Refused) };
    if tenant.state == TenantState::Suspended {
        return Ok(Rotation::Suspended(tenant));
    }
    if let Use::Again(token) = usage {
        return Ok(Rotation::Fresh { token, user });
    }
    let next = insert(tx.raw(), &user, token.family, new(user.id)).await?;
    let used = ActiveModel { used_at: Set(Some(at)), successor: Set(Some(next.id)), ..Default::default() };
    Entity::update_many().set(used).filter(Column::Id.eq(id)).exec(tx.raw()).await.doing("using a refresh token")?;
    tx.commit().await?;
    Ok(Rotation::Fresh { token: next, user })
}

/// Whether the user logged in, or exchanged a token, from that network since the password was set, with a token that has
/// not expired for long.
pub async fn is_known_network(db: &Database, user: UserId, network: &str) -> Result<bool> {
    let tokens = Entity::find().filter(Column::UserId.eq(user)).filter(Column::Network.eq(network));
    Ok(tokens.limit(1).one(db.reader()).await.doing("reading a user's network")?.is_some())
}

/// Ends the family of a user's token, at logout; false when the user has no such token.
pub async fn revoke_family_of(db: &Database, user: UserId, id: TokenId) -> Result<bool> {
    let tx = db.begin().await?;
    lock_user(tx.raw(), user).await?;
    let token = Entity::find_by_id(id).filter(Column::UserId.eq(user)).one(tx.raw()).await;
    let Some(token) = token.doing("reading a refresh token")? else { return Ok(false) };
    revoke(tx.raw(), user, token.family).await?;
    tx.commit().await?;
    Ok(true)
}

/// Ends every family of a user.
pub async fn revoke_all(db: &Database, user: UserId) -> Result<u64> {
    let tx = db.begin().await?;
    lock_user(tx.raw(), user).await?;
    let revoked = revoke_all_in(tx.raw(), user).await?;
    tx.commit().await?;
    Ok(revoked)
}

/// Ends every family of a user whose row the transaction has changed, and forgets the networks that the tokens were
/// issued to: the former password may have been another's.
pub(crate) async fn end_all(db: &impl ConnectionTrait, user: UserId) -> Result<()> {
    revoke_all_in(db, user).await?;
    let forgotten = ActiveModel { network: Set(None), ..Default::default() };
    let updated = Entity::update_many().set(forgotten).filter(Column::UserId.eq(user)).exec(db).await;
    updated.doing("forgetting a user's networks").map(drop)
}

async fn revoke_all_in(db: &impl ConnectionTrait, user: UserId) -> Result<u64> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TenantId;

    fn token(used_at: Option<DateTime<Utc>>) -> Model {
        Model {
            id: TokenId::new(),
            family: TokenFamily::new(),
            user_id: UserId::new(),
            tenant_id: TenantId::new(),
            expires_at: now() + TimeDelta::days(1),
            used_at,
            revoked_at: None,
            successor: None,
            network: None,
        }
    }

    #[test]
    fn a_used_token_gives_its_unused_successor_for_ten_seconds() {
        let at = now();
        let ago = |seconds| Some(at - TimeDelta::seconds(seconds));
        let (unused, used) = (token(None), token(ago(1)));
        assert_eq!(judge(&token(None), None, at), Use::First);
        for seconds in [-5, 0, 10] {
            let given = judge(&token(ago(seconds)), Some(unused.clone()), at);
            assert_eq!(given, Use::Again(unused.clone()), "{seconds} s");
        }
        assert_eq!(judge(&token(ago(11)), Some(unused), at), Use::Copied);
        assert_eq!(judge(&token(ago(2)), Some(used), at), Use::Copied, "it is not the one exchanged last");
        assert_eq!(judge(&token(ago(2)), None, at), Use::Copied, "exchanged before successors were stored");
    }
}
