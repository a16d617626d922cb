//! Webhooks: subscriptions to events, and the outbox of their deliveries.
//!
//! A delivery is written in the transaction of the change that it reports (transactional outbox). Senders claim due
//! deliveries for the length of a lease; the deliveries of a sender that died are due again when it expires.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, ExprTrait, QuerySelect, entity::prelude::*};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::{
    Changed, Database, DeliveryId, Result, TenantId, Transaction, WebhookId,
    error::Doing,
    now,
    page::{self, Page, PageRequest},
    rows::{
        webhook::{ActiveModel, Column, Entity, Model},
        webhook_delivery as delivery,
    },
};

mod claim;

pub use claim::{Room, claim};

pub use crate::rows::webhook::Model as Webhook;
pub use crate::rows::webhook_delivery::{DeliveryState, Model as Delivery};

/// The events that a webhook can subscribe to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum Event {
    /// An export's result is there.
    #[serde(rename = "export.complete")]
    ExportComplete,
    /// An export ended with a problem.
    #[serde(rename = "export.failed")]
    ExportFailed,
    /// A user cancelled an export.
    #[serde(rename = "export.cancelled")]
    ExportCancelled,
    /// An uploaded video can be used.
    #[serde(rename = "video.ready")]
    VideoReady,
    /// An uploaded video cannot be used.
    #[serde(rename = "video.failed")]
    VideoFailed,
    /// A test message that a user requested.
    #[serde(rename = "webhook.test")]
    Test,
}

impl Event {
    /// Its name, as in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::ExportComplete => "export.complete",
            Self::ExportFailed => "export.failed",
            Self::ExportCancelled => "export.cancelled",
            Self::VideoReady => "video.ready",
            Self::VideoFailed => "video.failed",
            Self::Test => "webhook.test",
        }
    }
}

/// What a tenant says of a webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where it is.
    pub url: String,
    /// Events that it subscribes to; empty: all.
    pub events: Vec<Event>,
    /// Whether events are sent to it.
    pub enabled: bool,
    /// What it is for.
    pub description: String,
}

/// A delivery that a sender has claimed, and the webhook that it goes to.
#[derive(Debug)]
pub struct ClaimedDelivery {
    /// What to deliver.
    pub delivery: Delivery,
    /// To whom.
    pub webhook: Webhook,
}

/// How a try went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The other side has it.
    Delivered {
        /// What it answered.
        status: u16,
    },
    /// It is tried again then.
    Again {
        /// When.
        at: DateTime<Utc>,
        /// What it answered, if it did.
        status: Option<u16>,
        /// What went wrong.
        error: String,
    },
    /// It is given up.
    GivenUp {
        /// What it answered, if it did.
        status: Option<u16>,
        /// What went wrong.
        error: String,
        /// The other side wants nothing more (410): the webhook is disabled, unless it was changed since the claim.
        disable: bool,
    },
}

/// Makes a webhook.
pub async fn create(db: &Database, tenant: TenantId, settings: Settings, secret: String) -> Result<Webhook> {
    let webhook = Model {
        id: WebhookId::new(),
        tenant_id: tenant,
        version: 1,
        url: settings.url,
        events: json!(settings.events),
        enabled: settings.enabled,
        description: settings.description,
        secret,
        previous_secret: None,
        previous_until: None,
        created_at: now(),
    };
    let row = ActiveModel::from(webhook.clone()).reset_all();
    Entity::insert(row).exec_without_returning(db.writer()).await.doing("making a webhook")?;
    Ok(webhook)
}

/// One webhook of a tenant.
pub async fn get(db: &Database, tenant: TenantId, id: WebhookId) -> Result<Option<Webhook>> {
    Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db.reader()).await.doing("reading a webhook")
}

/// How many webhooks a tenant has.
pub async fn count(db: &Database, tenant: TenantId) -> Result<u64> {
    use sea_orm::PaginatorTrait;
    Entity::find().filter(Column::TenantId.eq(tenant)).count(db.reader()).await.doing("counting webhooks")
}

/// A page of a tenant's webhooks.
pub async fn list(db: &Database, tenant: TenantId, page: &PageRequest) -> Result<Page<Webhook>> {
    let rows = Entity::find().filter(Column::TenantId.eq(tenant));
    page::fetch(rows, Column::Id, |row| row.id.uuid(), page, db.reader(), "listing webhooks").await
}

/// Changes a webhook, if it still has the version that the author saw.
pub async fn change(
    db: &Database,
    tenant: TenantId,
    id: WebhookId,
    seen: i64,
    settings: Settings,
) -> Result<Changed<Webhook>> {
    let row = ActiveModel {
        url: Set(settings.url),
        events: Set(json!(settings.events)),
        enabled: Set(settings.enabled),
        description: Set(settings.description),
        ..Default::default()
    };
    update(db, tenant, id, Some(seen), |_| row).await
}

/// Gives a webhook a new secret; the one before signs, too, until `previous_until`.
pub async fn rotate_secret(
    db: &Database,
    tenant: TenantId,
    id: WebhookId,
    secret: String,
    previous_until: DateTime<Utc>,
) -> Result<Changed<Webhook>> {
    let row = |webhook: &Webhook| ActiveModel {
        secret: Set(secret),
        previous_secret: Set(Some(webhook.secret.clone())),
        previous_until: Set(Some(previous_until)),
        ..Default::default()
    };
    update(db, tenant, id, None, row).await
}

async fn update(
    db: &Database,
    tenant: TenantId,
    id: WebhookId,
    seen: Option<i64>,
    row: impl FnOnce(&Webhook) -> ActiveModel,
) -> Result<Changed<Webhook>> {
    let tx = db.begin().await?;
    let found = Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).lock_exclusive().one(tx.raw()).await;
    let Some(webhook) = found.doing("reading a webhook")? else {
        return Ok(Changed::NotFound);
    };
    if seen.is_some_and(|seen| seen != webhook.version) {
        return Ok(Changed::Stale(webhook.version));
    }
    let row = ActiveModel { version: Set(webhook.version + 1), ..row(&webhook) };
    Entity::update_many().set(row).filter(Column::Id.eq(id)).exec(tx.raw()).await.doing("changing a webhook")?;
    let changed = Entity::find_by_id(id).one(tx.raw()).await.doing("reading a webhook")?;
    tx.commit().await?;
    Ok(changed.map_or(Changed::NotFound, Changed::Now))
}

/// Deletes a webhook with its deliveries; false when there is none.
pub async fn delete(db: &Database, tenant: TenantId, id: WebhookId) -> Result<bool> {
    let deleted = Entity::delete_by_id(id).filter(Column::TenantId.eq(tenant)).exec(db.writer()).await;
    Ok(deleted.doing("deleting a webhook")?.rows_affected > 0)
}

/// Queues an event for the tenant's webhooks that subscribe to it, in the transaction of what happened.
pub(crate) async fn announce(tx: &Transaction, tenant: TenantId, event: Event, data: Json) -> Result<()> {
    let listening = Entity::find().filter(Column::TenantId.eq(tenant)).filter(Column::Enabled.eq(true));
    let webhooks = listening.all(tx.raw()).await.doing("finding webhooks")?;
    let name = json!(event.name());
    let subscribed = webhooks.iter().filter(|webhook| {
        let events = webhook.events.as_array();
        events.is_none_or(|events| events.is_empty() || events.contains(&name))
    });
    let rows: Vec<_> = subscribed.map(|webhook| new_delivery(webhook, event, &data)).collect();
    if !rows.is_empty() {
        let rows = rows.into_iter().map(|row| delivery::ActiveModel::from(row).reset_all());
        let stored = delivery::Entity::insert_many(rows).exec_without_returning(tx.raw()).await;
        stored.doing("queueing deliveries")?;
    }
    Ok(())
}

fn new_delivery(webhook: &Webhook, event: Event, data: &Json) -> Delivery {
    let at = now();
    Delivery {
        id: DeliveryId::new(),
        tenant_id: webhook.tenant_id,
        webhook_id: webhook.id,
        event: event.name().to_owned(),
        body: json!({"type": event.name(), "timestamp": at, "data": data}).to_string(),
        state: DeliveryState::Waiting,
        attempts: 0,
        run_at: at,
        status: None,
        error: None,
        created_at: at,
        finished_at: None,
    }
}

/// Writes a message that says nothing but that the webhook works; `None` when the tenant has no such webhook.
pub async fn send_test(db: &Database, tenant: TenantId, id: WebhookId) -> Result<Option<Delivery>> {
    let Some(webhook) = get(db, tenant, id).await? else { return Ok(None) };
    let row = new_delivery(&webhook, Event::Test, &json!({"webhook_id": id}));
    let stored = delivery::ActiveModel::from(row.clone()).reset_all();
    let stored = delivery::Entity::insert(stored).exec_without_returning(db.writer()).await;
    stored.referring("the webhook", "writing a test message")?;
    Ok(Some(row))
}

/// A page of a webhook's deliveries; `None` when the tenant has no such webhook.
pub async fn deliveries(
    db: &Database,
    tenant: TenantId,
    id: WebhookId,
    page: &PageRequest,
) -> Result<Option<Page<Delivery>>> {
    if get(db, tenant, id).await?.is_none() {
        return Ok(None);
    }
    let rows = delivery::Entity::find().filter(delivery::Column::WebhookId.eq(id));
    let key = delivery::Column::Id;
    page::fetch(rows, key, |row| row.id.uuid(), page, db.reader(), "listing deliveries").await.map(Some)
}

/// One delivery of a tenant's webhook.
pub async fn get_delivery(
    db: &Database,
    tenant: TenantId,
    webhook: WebhookId,
    id: DeliveryId,
) -> Result<Option<Delivery>> {
    let row = delivery::Entity::find_by_id(id)
        .filter(delivery::Column::TenantId.eq(tenant))
        .filter(delivery::Column::WebhookId.eq(webhook));
    row.one(db.reader()).await.doing("reading a delivery")
}

/// Makes a delivery that has ended due again, with all its tries before it, under the same id; unchanged while it is
/// still on its way. `None` when the tenant has no such delivery.
pub async fn send_again(
    db: &Database,
    tenant: TenantId,
    webhook: WebhookId,
    id: DeliveryId,
) -> Result<Option<Delivery>> {
    let row = delivery::ActiveModel {
        state: Set(DeliveryState::Waiting),
        attempts: Set(0),
        run_at: Set(now()),
        finished_at: Set(None),
        ..Default::default()
    };
    delivery::Entity::update_many()
        .set(row)
        .filter(delivery::Column::Id.eq(id))
        .filter(delivery::Column::TenantId.eq(tenant))
        .filter(delivery::Column::WebhookId.eq(webhook))
        .filter(delivery::Column::State.is_in([DeliveryState::Delivered, DeliveryState::Failed]))
        .exec(db.writer())
        .await
        .doing("sending a delivery again")?;
    get_delivery(db, tenant, webhook, id).await
}

/// Makes claimed deliveries due at once: for the start of a node that is the only one, whose earlier process has ended.
pub async fn take_back(db: &Database) -> Result<u64> {
    let row = delivery::ActiveModel { state: Set(DeliveryState::Waiting), run_at: Set(now()), ..Default::default() };
    let sending = delivery::Column::State.eq(DeliveryState::Sending);
    let taken = delivery::Entity::update_many().set(row).filter(sending).exec(db.writer()).await;
    Ok(taken.doing("taking deliveries back")?.rows_affected)
}

/// Records the outcome of a try; false, and nothing changed, when the claim has expired and another sender has the
/// delivery.
pub async fn record_outcome(db: &Database, claimed: &ClaimedDelivery, outcome: Outcome) -> Result<bool> {
    let tx = db.begin().await?;
    let (state, run_at, status, error, disable) = match outcome {
        Outcome::Delivered { status } => (DeliveryState::Delivered, now(), Some(status), None, false),
        Outcome::Again { at, status, error } => (DeliveryState::Waiting, at, status, Some(error), false),
        Outcome::GivenUp { status, error, disable } => (DeliveryState::Failed, now(), status, Some(error), disable),
    };
    let ended = matches!(state, DeliveryState::Delivered | DeliveryState::Failed);
    let row = delivery::ActiveModel {
        state: Set(state),
        run_at: Set(run_at),
        status: Set(status.map(i32::from)),
        error: Set(error),
        finished_at: Set(ended.then(now)),
        ..Default::default()
    };
    let recorded = delivery::Entity::update_many()
        .set(row)
        .filter(delivery::Column::Id.eq(claimed.delivery.id))
        .filter(delivery::Column::State.eq(DeliveryState::Sending))
        .filter(delivery::Column::Attempts.eq(claimed.delivery.attempts))
        .exec(tx.raw())
        .await;
    if recorded.doing("recording how a delivery went")?.rows_affected == 0 {
        return Ok(false);
    }
    if disable {
        // A webhook that was changed since the claim, its URL perhaps, stays on: the next message finds out.
        let disabled = Entity::update_many()
            .col_expr(Column::Enabled, Expr::value(false))
            .col_expr(Column::Version, Expr::col(Column::Version).add(1))
            .filter(Column::Id.eq(claimed.webhook.id))
            .filter(Column::Version.eq(claimed.webhook.version))
            .exec(tx.raw())
            .await;
        disabled.doing("disabling a webhook")?;
    }
    tx.commit().await?;
    Ok(true)
}

/// Forgets deliveries that ended before `before`; how many there were.
pub async fn forget_ended(db: &Database, before: DateTime<Utc>) -> Result<u64> {
    let ended = delivery::Entity::delete_many().filter(delivery::Column::FinishedAt.lt(before));
    Ok(ended.exec(db.writer()).await.doing("forgetting old deliveries")?.rows_affected)
}
