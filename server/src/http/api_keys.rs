//! API keys: how programs of a tenant come in.

use actix_web::http::header;
use actix_web::{HttpResponse, delete, get, post, web};
use chrono::{DateTime, TimeDelta, Utc};
use entities::ApiKeyId;
use entities::api_keys::{self, ApiKey, NewApiKey, Scope};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::admin::audit;
use super::auth::api_key;
use super::extract::{Id, Json, Listing, PageQuery, Query, TenantAdmin};
use super::problem::Problem;
use super::refusals::{ReadRefusals, WriteRefusals};
use super::state::State;
use super::whole::whole;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(list_api_keys).service(create_api_key).service(get_api_key).service(revoke_api_key);
}

/// The longest name of a key, in characters.
pub const LONGEST_NAME: usize = 200;
/// How long a key that ends may hold at most, in seconds: ten years.
const LONGEST_LIFE: i64 = 10 * 366 * 24 * 3600;

/// A key to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateApiKey {
    /// What to call it.
    #[schema(example = "scoreboard", min_length = 1, max_length = 200, pattern = r"\S")]
    pub name: String,
    /// `read` for what a viewer may, `write` also for what an editor may.
    #[schema(min_items = 1)]
    pub scopes: Vec<Scope>,
    /// Seconds until it ends; it never ends by itself when not given.
    #[schema(example = 31536000, minimum = 1, maximum = 316_224_000)]
    #[serde(default, deserialize_with = "whole")]
    pub expires_in: Option<i64>,
}

/// An API key, without its text.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub struct ApiKeyView {
    /// The key.
    pub id: ApiKeyId,
    /// What it is called.
    pub name: String,
    /// The first characters of its text.
    #[schema(example = "tl_8hQ2x")]
    pub hint: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it ends; `null`: never.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute; `null`: never.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// A key that was just made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewApiKey)]
pub struct NewApiKeyView {
    /// For `Authorization: Bearer`. It is shown only now.
    #[schema(example = "tl_8hQ2xS0c3f9Zb1uE7yWkqL5rT4mNpVdJgHaXoCiU6eM")]
    pub key: String,
    /// What is known of it from now on.
    #[serde(flatten)]
    pub row: ApiKeyView,
}

impl From<ApiKey> for ApiKeyView {
    fn from(key: ApiKey) -> Self {
        let ApiKey { id, name, hint, scope, expires_at, last_used_at, created_at, .. } = key;
        Self { id, name, hint, scopes: scope.all().to_vec(), expires_at, last_used_at, created_at }
    }
}

/// Lists the tenant's API keys, newest first, without the revoked ones.
#[utoipa::path(tag = "tenant", params(PageQuery), responses((status = 200, description = "a page", body = Listing<ApiKeyView>), ReadRefusals))]
#[get("/api-keys")]
pub async fn list_api_keys(
    admin: TenantAdmin,
    page: Query<PageQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let page = api_keys::list(&state.db, admin.tenant, &page.request()?).await?;
    Ok(HttpResponse::Ok().json(Listing::from(page.map(ApiKeyView::from))))
}

/// Creates an API key. Only this answer has its text.
#[utoipa::path(tag = "tenant", responses((status = 201, description = "the key", body = NewApiKeyView, headers(("Location" = String))), WriteRefusals))]
#[post("/api-keys")]
pub async fn create_api_key(
    admin: TenantAdmin,
    new: Json<CreateApiKey>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let CreateApiKey { name, scopes, expires_in } = new.into_inner();
    let name = name.trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME {
        let detail = format!("a name has 1 to {LONGEST_NAME} characters");
        return Err(Problem::invalid_field("/name", "length", detail));
    }
    // The greatest scope includes the others.
    let Some(scope) = scopes.into_iter().max() else {
        return Err(Problem::invalid_field("/scopes", "length", "a key needs a scope: read or write"));
    };
    if expires_in.is_some_and(|seconds| !(1..=LONGEST_LIFE).contains(&seconds)) {
        let detail = format!("expires_in is 1 to {LONGEST_LIFE} seconds");
        return Err(Problem::invalid_field("/expires_in", "out_of_range", detail));
    }
    let text = api_key::generate();
    let new = NewApiKey {
        tenant_id: admin.tenant,
        name: name.to_owned(),
        hint: api_key::hint(&text),
        sha256: api_key::sha256(&text),
        scope,
        expires_at: expires_in.map(|seconds| Utc::now() + TimeDelta::seconds(seconds)),
    };
    let row = ApiKeyView::from(api_keys::create(&state.db, new).await?);
    let details = json!({"name": row.name, "scopes": row.scopes});
    audit::note(&state, &admin, Some(admin.tenant), "api_key.create", row.id, details).await;
    let location = format!("/api/v1/api-keys/{}", row.id);
    Ok(HttpResponse::Created().insert_header((header::LOCATION, location)).json(NewApiKeyView { key: text, row }))
}

/// Reads an API key.
#[utoipa::path(tag = "tenant", params(("id" = ApiKeyId, Path)), responses((status = 200, description = "the key", body = ApiKeyView), ReadRefusals))]
#[get("/api-keys/{id}")]
pub async fn get_api_key(
    admin: TenantAdmin,
    id: Id<ApiKeyId>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let key = api_keys::get(&state.db, admin.tenant, id.0).await?.ok_or_else(|| Problem::not_found("API key"))?;
    Ok(HttpResponse::Ok().json(ApiKeyView::from(key)))
}

/// Revokes an API key: requests with it are refused at once, and its WebSockets close within a second.
#[utoipa::path(tag = "tenant", params(("id" = ApiKeyId, Path)), responses((status = 204, description = "revoked"), WriteRefusals))]
#[delete("/api-keys/{id}")]
pub async fn revoke_api_key(
    admin: TenantAdmin,
    id: Id<ApiKeyId>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    if !api_keys::revoke(&state.db, admin.tenant, id.0).await? {
        return Err(Problem::not_found("API key"));
    }
    audit::note(&state, &admin, Some(admin.tenant), "api_key.revoke", id.0, json!({})).await;
    Ok(HttpResponse::NoContent().finish())
}
