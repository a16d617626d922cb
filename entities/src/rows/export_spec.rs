use sea_orm::entity::prelude::*;

use crate::{ExportId, TenantId};

/// What was asked for with an export. Apart from the export's row, which lists read and progress updates rewrite.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "export_specs")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub export_id: ExportId,
    pub tenant_id: TenantId,
    pub spec: Json,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
