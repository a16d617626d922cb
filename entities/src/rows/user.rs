use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{TenantId, UserId};

/// A person who logs in.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: UserId,
    pub tenant_id: TenantId,
    /// Lower case, unique in the deployment.
    pub email: String,
    /// Argon2id, in PHC string format.
    pub password_hash: String,
    pub role: Role,
    pub created_at: DateTimeUtc,
    /// Grows with each change of the password: access tokens of an earlier epoch are refused.
    pub session_epoch: i64,
}

/// What a user may do; each role may also do what the one before it may.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, DeriveDisplay, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[derive(PartialOrd, Ord)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Writes.
    Editor,
    /// Runs its tenant's users, keys and webhooks.
    Admin,
    /// Runs the deployment.
    Operator,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
