use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{DeliveryId, TenantId, WebhookId};

/// An event on its way to a webhook.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_deliveries")]
pub struct Model {
    /// Also the `webhook-id` of the message: the same at every try.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: DeliveryId,
    pub tenant_id: TenantId,
    pub webhook_id: WebhookId,
    /// What happened, such as `export.complete`.
    pub event: String,
    /// The JSON that is signed and sent, byte for byte.
    pub body: String,
    pub state: DeliveryState,
    /// Tries that have begun.
    pub attempts: i32,
    /// When it is tried next; while it is tried, when it counts as lost.
    pub run_at: DateTimeUtc,
    /// What the other side answered last.
    pub status: Option<i32>,
    /// What went wrong last.
    pub error: Option<String>,
    pub created_at: DateTimeUtc,
    pub finished_at: Option<DateTimeUtc>,
}

/// Where a delivery is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum, DeriveDisplay, Serialize, Deserialize, ToSchema,
)]
#[sea_orm(rs_type = "String", db_type = "String(StringLen::N(16))", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It waits for its next try.
    Waiting,
    /// A sender has claimed it.
    Sending,
    /// The receiver has accepted it.
    Delivered,
    /// It was given up.
    Failed,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
