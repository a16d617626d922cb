use sea_orm::entity::prelude::*;

use crate::TenantId;

/// A tenant's place in the fair queue.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "fair_shares")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: TenantId,
    /// What the tenant was given so far, in device-seconds over its weight.
    #[sea_orm(column_name = "finish_tag")]
    pub tag: f64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
