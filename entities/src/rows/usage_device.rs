use sea_orm::entity::prelude::*;
use uuid::Uuid;

/// One device's part in what was used.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "usage_devices")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub usage_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub device: String,
    /// Frames it inferred.
    pub frames: i64,
    pub device_seconds: f64,
    pub cost: f64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
