use sea_orm::entity::prelude::*;

use crate::UserId;

/// The live settings as they once were set.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "config_versions")]
pub struct Model {
    /// Counts from 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub version: i64,
    /// The live settings as a whole.
    pub body: Json,
    pub author: Option<UserId>,
    pub created_at: DateTimeUtc,
    /// The older version whose settings these are, when they came by a rollback.
    pub rolled_back_to: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
