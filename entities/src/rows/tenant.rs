use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::TenantId;

/// A customer.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "tenants")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: TenantId,
    /// Unique in the deployment.
    pub name: String,
    pub state: TenantState,
    /// Share of the devices relative to other tenants; 1 by default.
    pub weight: f64,
    pub created_at: DateTimeUtc,
    /// The upscaler behind `auto`; none: the deployment's.
    pub upscale_model: Option<String>,
    /// The detector; none: the deployment's.
    pub detect_model: Option<String>,
}

/// May a tenant's people and keys do anything?
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, DeriveDisplay, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum TenantState {
    /// Yes.
    Active,
    /// No; nothing of it is deleted.
    Suspended,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
