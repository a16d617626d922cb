//! Webhooks: addresses that are notified of events, and their deliveries.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, web};
use actors::webhooks::{check_url, new_secret};
use chrono::{DateTime, TimeDelta, Utc};
use edits::FieldError;
use entities::webhooks::{self, Delivery, DeliveryState, Event, Settings, Webhook};
use entities::{Changed, DeliveryId, WebhookId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::admin::audit;
use super::extract::{Id, Json, Listing, PageQuery, Query, Row, TenantAdmin, find};
use super::precondition::{answer, expected_version, stale, with_tag};
use super::problem::{Problem, ProblemBody};
use super::refusals::{ReadRefusals, WriteRefusals};
use super::state::State;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(create_webhook)
        .service(list_webhooks)
        .service(get_webhook)
        .service(change_webhook)
        .service(rotate_webhook_secret)
        .service(delete_webhook)
        .service(test_webhook)
        .service(list_deliveries)
        .service(get_delivery)
        .service(send_delivery_again);
}

/// Webhooks of one tenant at most.
const MOST: u64 = 20;
const LONGEST_DESCRIPTION: usize = 500;
/// How long the secret before still signs after a change.
const OVERLAP: TimeDelta = TimeDelta::hours(24);

/// An address that is notified of events.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub struct WebhookView {
    /// The webhook.
    pub id: WebhookId,
    /// Grows with each change; also the `ETag`.
    pub version: i64,
    /// Where messages are posted.
    pub url: String,
    /// The events it gets; empty: all of them.
    #[schema(value_type = Vec<Event>)]
    pub events: Value,
    /// Whether it gets any. One whose receiver answers 410 is switched off.
    pub enabled: bool,
    /// What it is for.
    pub description: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// What messages are signed with; shown when it is made or changed, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

impl From<Webhook> for WebhookView {
    fn from(webhook: Webhook) -> Self {
        let Webhook { id, version, url, events, enabled, description, created_at, .. } = webhook;
        Self { id, version, url, events, enabled, description, created_at, secret: None }
    }
}

/// A message on its way, or at its end.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub struct DeliveryView {
    /// Also the message's `webhook-id`, the same at every try.
    pub id: DeliveryId,
    /// What happened.
    pub event: String,
    /// Where it is.
    pub state: DeliveryState,
    /// Tries so far.
    pub attempts: i32,
    /// When it is tried next; null when it has ended.
    pub next_try: Option<DateTime<Utc>>,
    /// What the receiver answered last.
    pub status: Option<i32>,
    /// What went wrong last.
    pub error: Option<String>,
    /// The message.
    #[schema(value_type = Object)]
    pub body: Value,
    /// When it happened.
    pub created_at: DateTime<Utc>,
    /// When it was delivered or given up.
    pub finished_at: Option<DateTime<Utc>>,
}

impl From<Delivery> for DeliveryView {
    fn from(row: Delivery) -> Self {
        let waits = row.finished_at.is_none();
        Self {
            id: row.id,
            event: row.event,
            state: row.state,
            attempts: row.attempts,
            next_try: waits.then_some(row.run_at),
            status: row.status,
            error: row.error,
            body: serde_json::from_str(&row.body).unwrap_or_default(),
            created_at: row.created_at,
            finished_at: row.finished_at,
        }
    }
}

/// A webhook to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// Where messages are posted: https, a public address.
    #[schema(example = "https://club.example/touchline")]
    pub url: String,
    /// The events it gets; empty or missing: all of them.
    #[serde(default)]
    pub events: Vec<Event>,
    /// Whether it gets any.
    #[serde(default = "yes")]
    #[schema(default = true)]
    pub enabled: bool,
    /// What it is for, at most 500 characters.
    #[serde(default)]
    #[schema(max_length = 500)]
    pub description: String,
}

fn yes() -> bool {
    true
}

/// What is changed of a webhook; what is missing stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookPatch {
    /// Where messages are posted.
    pub url: Option<String>,
    /// The events it gets; empty: all of them.
    pub events: Option<Vec<Event>>,
    /// Whether it gets any.
    pub enabled: Option<bool>,
    /// What it is for, at most 500 characters.
    #[schema(max_length = 500)]
    pub description: Option<String>,
}

/// Creates a webhook. Its secret is in this answer only; `POST …/test` sends a message to try it.
#[utoipa::path(tag = "webhooks", responses((status = 201, description = "the webhook with its secret", body = WebhookView, headers(("Location" = String), ("ETag" = String))), WriteRefusals))]
#[post("/webhooks")]
pub async fn create_webhook(
    admin: TenantAdmin,
    new: Json<NewWebhook>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let NewWebhook { url, events, enabled, description } = new.into_inner();
    let settings = Settings { url, events, enabled, description };
    check(&state, &settings)?;
    let (db, tenant) = (&state.db, admin.tenant);
    if webhooks::count(db, tenant).await? >= MOST {
        return Err(Problem::conflict("too_many_webhooks", format!("a tenant has at most {MOST} webhooks")));
    }
    let secret = new_secret();
    let webhook = webhooks::create(db, tenant, settings, secret.clone()).await?;
    note(&state, &admin, "webhook.create", &webhook).await;
    Ok(with_tag(&mut HttpResponse::Created(), webhook.version)
        .insert_header((header::LOCATION, format!("/api/v1/webhooks/{}", webhook.id)))
        .json(WebhookView { secret: Some(secret), ..webhook.into() }))
}

/// Lists the tenant's webhooks, newest first.
#[utoipa::path(tag = "webhooks", params(PageQuery), responses((status = 200, description = "a page", body = Listing<WebhookView>), ReadRefusals))]
#[get("/webhooks")]
pub async fn list_webhooks(
    admin: TenantAdmin,
    page: Query<PageQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let page = webhooks::list(&state.db, admin.tenant, &page.request()?).await?;
    Ok(HttpResponse::Ok().json(Listing::from(page.map(WebhookView::from))))
}

/// Reads a webhook.
#[utoipa::path(tag = "webhooks", params(("id" = WebhookId, Path)), responses((status = 200, description = "the webhook", body = WebhookView, headers(("ETag" = String))), (status = 304, description = "the client has it already"), ReadRefusals))]
#[get("/webhooks/{id}")]
pub async fn get_webhook(_: TenantAdmin, webhook: Row<Webhook>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let Row(webhook) = webhook;
    Ok(answer(&request, webhook.version, &WebhookView::from(webhook)))
}

/// Changes a webhook. With `If-Match` only the version that was seen is changed.
#[utoipa::path(
    tag = "webhooks",
    params(("id" = WebhookId, Path), ("If-Match" = Option<String>, Header, description = "the `ETag` that was read, or `*`")),
    responses(
        (status = 200, description = "the webhook", body = WebhookView, headers(("ETag" = String))),
        (status = 412, description = "it was changed meanwhile", body = ProblemBody, content_type = "application/problem+json"),
        WriteRefusals
    )
)]
#[patch("/webhooks/{id}")]
pub async fn change_webhook(
    admin: TenantAdmin,
    id: Id<WebhookId>,
    request: HttpRequest,
    patch: Json<WebhookPatch>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let webhook = find::<Webhook>(&state, admin.tenant, id.0).await?;
    let expected = expected_version(&request, webhook.version)?;
    let patch = patch.into_inner();
    let settings = Settings {
        url: patch.url.unwrap_or(webhook.url),
        events: patch.events.unwrap_or_else(|| serde_json::from_value(webhook.events).unwrap_or_default()),
        enabled: patch.enabled.unwrap_or(webhook.enabled),
        description: patch.description.unwrap_or(webhook.description),
    };
    check(&state, &settings)?;
    let seen = expected.unwrap_or(webhook.version);
    let changed = webhooks::change(&state.db, admin.tenant, id.0, seen, settings).await?;
    let webhook = now(changed)?;
    note(&state, &admin, "webhook.change", &webhook).await;
    Ok(with_tag(&mut HttpResponse::Ok(), webhook.version).json(WebhookView::from(webhook)))
}

/// Gives a webhook a new secret, which is in this answer only. For a day messages are signed with both.
#[utoipa::path(tag = "webhooks", params(("id" = WebhookId, Path)), responses((status = 200, description = "the webhook with its new secret", body = WebhookView, headers(("ETag" = String))), WriteRefusals))]
#[post("/webhooks/{id}/rotate-secret")]
pub async fn rotate_webhook_secret(
    admin: TenantAdmin,
    id: Id<WebhookId>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let secret = new_secret();
    let until = Utc::now() + OVERLAP;
    let rotated = webhooks::rotate_secret(&state.db, admin.tenant, id.0, secret.clone(), until).await?;
    let webhook = now(rotated)?;
    note(&state, &admin, "webhook.rotate_secret", &webhook).await;
    Ok(with_tag(&mut HttpResponse::Ok(), webhook.version).json(WebhookView { secret: Some(secret), ..webhook.into() }))
}

/// Deletes a webhook, with its deliveries, also those that are under way.
#[utoipa::path(tag = "webhooks", params(("id" = WebhookId, Path)), responses((status = 204, description = "gone"), WriteRefusals))]
#[delete("/webhooks/{id}")]
pub async fn delete_webhook(
    admin: TenantAdmin,
    webhook: Row<Webhook>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let Row(webhook) = webhook;
    if !webhooks::delete(&state.db, admin.tenant, webhook.id).await? {
        return Err(Problem::not_found("webhook"));
    }
    note(&state, &admin, "webhook.delete", &webhook).await;
    Ok(HttpResponse::NoContent().finish())
}

/// Sends a `webhook.test` message, to try the receiver. A tenant may ask for ten of them a minute.
#[utoipa::path(tag = "webhooks", params(("id" = WebhookId, Path)), responses((status = 202, description = "the message on its way", body = DeliveryView, headers(("Location" = String))), WriteRefusals))]
#[post("/webhooks/{id}/test")]
pub async fn test_webhook(
    admin: TenantAdmin,
    id: Id<WebhookId>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    find::<Webhook>(&state, admin.tenant, id.0).await?;
    state.rates.count_webhook_test(admin.tenant).await?;
    let sent = webhooks::send_test(&state.db, admin.tenant, id.0).await?;
    let sent = sent.ok_or_else(|| Problem::not_found("webhook"))?;
    Ok(HttpResponse::Accepted()
        .insert_header((header::LOCATION, format!("/api/v1/webhooks/{}/deliveries/{}", id.0, sent.id)))
        .json(DeliveryView::from(sent)))
}

/// Lists the deliveries of a webhook, newest first.
#[utoipa::path(tag = "webhooks", params(("id" = WebhookId, Path), PageQuery), responses((status = 200, description = "a page", body = Listing<DeliveryView>), ReadRefusals))]
#[get("/webhooks/{id}/deliveries")]
pub async fn list_deliveries(
    admin: TenantAdmin,
    id: Id<WebhookId>,
    page: Query<PageQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let page = webhooks::deliveries(&state.db, admin.tenant, id.0, &page.request()?).await?;
    let page = page.ok_or_else(|| Problem::not_found("webhook"))?;
    Ok(HttpResponse::Ok().json(Listing::from(page.map(DeliveryView::from))))
}

/// Reads a message and how its tries went.
#[utoipa::path(tag = "webhooks", params(("id" = WebhookId, Path), ("delivery_id" = DeliveryId, Path)), responses((status = 200, description = "the message", body = DeliveryView), ReadRefusals))]
#[get("/webhooks/{id}/deliveries/{delivery_id}")]
pub async fn get_delivery(
    admin: TenantAdmin,
    id: Id<WebhookId>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let delivery = delivery_id(&request)?;
    let found = webhooks::get_delivery(&state.db, admin.tenant, id.0, delivery).await?;
    let found = found.ok_or_else(|| Problem::not_found("delivery"))?;
    Ok(HttpResponse::Ok().json(DeliveryView::from(found)))
}

/// Sends a message that has ended once more, under the same `webhook-id`. One that is still on its way stays so.
#[utoipa::path(tag = "webhooks", params(("id" = WebhookId, Path), ("delivery_id" = DeliveryId, Path)), responses((status = 202, description = "the message on its way", body = DeliveryView), WriteRefusals))]
#[post("/webhooks/{id}/deliveries/{delivery_id}/send-again")]
pub async fn send_delivery_again(
    admin: TenantAdmin,
    id: Id<WebhookId>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let delivery = delivery_id(&request)?;
    let found = webhooks::send_again(&state.db, admin.tenant, id.0, delivery).await?;
    let found = found.ok_or_else(|| Problem::not_found("delivery"))?;
    Ok(HttpResponse::Accepted().json(DeliveryView::from(found)))
}

fn delivery_id(request: &HttpRequest) -> Result<DeliveryId, Problem> {
    let id = request.match_info().get("delivery_id").and_then(|id| id.parse().ok());
    id.ok_or_else(|| Problem::not_found("delivery"))
}

fn now(changed: Changed<Webhook>) -> Result<Webhook, Problem> {
    match changed {
        Changed::Now(webhook) => Ok(webhook),
        Changed::Stale(version) => Err(stale(version)),
        Changed::NotFound => Err(Problem::not_found("webhook")),
    }
}

fn check(state: &State, settings: &Settings) -> Result<(), Problem> {
    let mut wrong = Vec::new();
    if let Err(error) = check_url(&settings.url, state.node.settings().webhooks.allow_private) {
        wrong.push(FieldError::new("/url", "invalid", error.to_string()));
    }
    if settings.description.chars().count() > LONGEST_DESCRIPTION {
        let detail = format!("it has more than {LONGEST_DESCRIPTION} characters");
        wrong.push(FieldError::new("/description", "too_long", detail));
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Problem::invalid("invalid_webhook", "the webhook has mistakes; nothing was stored", wrong))
}

/// The address stays out of the audit log: its path may be a secret of the receiver's.
async fn note(state: &State, admin: &TenantAdmin, action: &'static str, webhook: &Webhook) {
    let details = json!({"events": webhook.events, "enabled": webhook.enabled});
    audit::note(state, admin, Some(admin.tenant), action, webhook.id, details).await;
}
