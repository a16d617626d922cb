use sea_orm::entity::prelude::*;

use crate::{TenantId, WebhookId};

/// A subscription: the URL that events are sent to.
#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "webhooks")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: WebhookId,
    pub tenant_id: TenantId,
    /// Counts from 1; grows with each change.
    pub version: i64,
    pub url: String,
    /// Array of event names; an empty one means all.
    pub events: Json,
    pub enabled: bool,
    pub description: String,
    /// `whsec_` and base64, as Standard Webhooks writes it. It signs, so it cannot be hashed.
    pub secret: String,
    /// The secret before the last rotation, which signs too for a while.
    pub previous_secret: Option<String>,
    pub previous_until: Option<DateTimeUtc>,
    pub created_at: DateTimeUtc,
}

// By hand, so that no log shows a secret.
impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("id", &self.id).field("url", &self.url).finish_non_exhaustive()
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
