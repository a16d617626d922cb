use sea_orm::entity::prelude::*;

use crate::{TenantId, TokenFamily, TokenId, UserId};

/// A refresh token.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "refresh_tokens")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TokenId,
    /// All tokens that came from one login.
    pub family: TokenFamily,
    pub user_id: UserId,
    pub tenant_id: TenantId,
    pub expires_at: DateTimeUtc,
    /// When it was exchanged for the next one of its family.
    pub used_at: Option<DateTimeUtc>,
    pub revoked_at: Option<DateTimeUtc>,
    /// The token that it was exchanged for.
    pub successor: Option<TokenId>,
    /// Names the network that it was issued to; forgotten when the password changes.
    pub network: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
