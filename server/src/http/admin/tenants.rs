//! The tenants of the deployment.

use actix_web::{HttpResponse, get, patch, post, web};
use actors::settings::config_keeper::differences;
use chrono::{DateTime, Utc};
use edits::FieldError;
use entities::TenantId;
use entities::tenant_limits::{self, TenantLimits};
use entities::tenants::{self, Tenant, TenantChange, TenantState};
use models::ModelKind;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::audit;
use crate::http::extract::{Id, Json, Listing, Operator, PageQuery, Query};
use crate::http::merge_patch::{object, present};
use crate::http::problem::Problem;
use crate::http::refusals::{ReadRefusals, WriteRefusals};
use crate::http::state::State;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(list_tenants).service(create_tenant).service(get_tenant).service(change_tenant);
}

/// The longest name of a tenant, in characters.
const LONGEST_NAME: usize = 200;
const NAME_LENGTH: &str = "a name has 1 to 200 characters";

/// A customer of the deployment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
pub struct TenantView {
    /// The tenant.
    pub id: TenantId,
    /// Unique in the deployment.
    pub name: String,
    /// Whether its people may do anything.
    pub state: TenantState,
    /// Its share of the devices relative to other tenants.
    pub weight: f64,
    /// Limits of its own; null: the deployment's.
    pub limits: OwnLimits,
    /// Default models of its own; null: the deployment's.
    pub models: OwnModels,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Default models of one tenant, in place of the deployment's.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct OwnModels {
    /// The upscaler behind `"model": "auto"`.
    pub upscale: Option<String>,
    /// The model that finds persons.
    pub detect: Option<String>,
}

/// Which default models are changed: a name sets, null takes away, what is missing stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelsPatch {
    #[serde(deserialize_with = "present")]
    upscale: Option<Option<String>>,
    #[serde(deserialize_with = "present")]
    detect: Option<Option<String>>,
}

impl ModelsPatch {
    /// Names that are no models here.
    fn check(&self, state: &State) -> Vec<FieldError> {
        let Some(store) = state.node.devices.models() else { return Vec::new() };
        let wanted = [
            ("/models/upscale", self.upscale.iter().flatten().next(), ModelKind::Upscaler),
            ("/models/detect", self.detect.iter().flatten().next(), ModelKind::Detector),
        ];
        let wrong = wanted.into_iter().filter_map(|(pointer, name, kind)| {
            let detail = actors::settings::default_models::check(store, name?, kind).err()?;
            Some(FieldError::new(pointer, "unknown_model", detail))
        });
        wrong.collect()
    }
}

/// Limits of one tenant, in place of the deployment's.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OwnLimits {
    /// Exports at work at once; further ones wait.
    pub concurrent_exports: Option<u32>,
    /// Exports waiting or at work; one more is refused.
    pub queued_exports: Option<u32>,
    /// Single frames decoded at once; one more is refused.
    pub interactive_frames: Option<u32>,
    /// Bytes of open uploads, videos and results.
    pub storage_bytes: Option<u64>,
    /// Bytes of one upload.
    pub upload_bytes: Option<u64>,
    /// Requests a second; 0: unlimited.
    pub requests_per_second: Option<u32>,
    /// WebSockets of one user or API key, open on one node; one more is refused.
    pub sockets_per_user: Option<u32>,
    /// WebSockets of the tenant, open on one node; one more is refused.
    pub sockets_per_tenant: Option<u32>,
}

impl OwnLimits {
    fn of(row: &TenantLimits) -> Self {
        let small = |limit: Option<i64>| limit.and_then(|limit| u32::try_from(limit).ok());
        let large = |limit: Option<i64>| limit.and_then(|limit| u64::try_from(limit).ok());
        Self {
            concurrent_exports: small(row.concurrent_exports),
            queued_exports: small(row.queued_exports),
            interactive_frames: small(row.interactive_frames),
            storage_bytes: large(row.storage_bytes),
            upload_bytes: large(row.upload_bytes),
            requests_per_second: small(row.requests_per_second),
            sockets_per_user: small(row.sockets_per_user),
            sockets_per_tenant: small(row.sockets_per_tenant),
        }
    }

    fn row(&self, tenant: TenantId) -> TenantLimits {
        let large = |limit: Option<u64>| limit.map(|limit| i64::try_from(limit).unwrap_or(i64::MAX));
        TenantLimits {
            tenant_id: tenant,
            concurrent_exports: self.concurrent_exports.map(i64::from),
            queued_exports: self.queued_exports.map(i64::from),
            interactive_frames: self.interactive_frames.map(i64::from),
            storage_bytes: large(self.storage_bytes),
            upload_bytes: large(self.upload_bytes),
            requests_per_second: self.requests_per_second.map(i64::from),
            sockets_per_user: self.sockets_per_user.map(i64::from),
            sockets_per_tenant: self.sockets_per_tenant.map(i64::from),
        }
    }

    /// Laid over by what a patch says: a value sets, null takes away, what is missing stays.
    fn patched(&self, patch: &LimitsPatch) -> Self {
        fn over<T: Copy>(patch: &Option<Option<T>>, now: Option<T>) -> Option<T> {
            patch.unwrap_or(now)
        }
        Self {
            concurrent_exports: over(&patch.concurrent_exports, self.concurrent_exports),
            queued_exports: over(&patch.queued_exports, self.queued_exports),
            interactive_frames: over(&patch.interactive_frames, self.interactive_frames),
            storage_bytes: over(&patch.storage_bytes, self.storage_bytes),
            upload_bytes: over(&patch.upload_bytes, self.upload_bytes),
            requests_per_second: over(&patch.requests_per_second, self.requests_per_second),
            sockets_per_user: over(&patch.sockets_per_user, self.sockets_per_user),
            sockets_per_tenant: over(&patch.sockets_per_tenant, self.sockets_per_tenant),
        }
    }

    fn check(&self) -> Vec<FieldError> {
        // Rows keep signed numbers.
        let possible = 1..=i64::MAX.unsigned_abs();
        let limits = [
            ("concurrent_exports", self.concurrent_exports.map(u64::from)),
            ("queued_exports", self.queued_exports.map(u64::from)),
            ("interactive_frames", self.interactive_frames.map(u64::from)),
            ("storage_bytes", self.storage_bytes),
            ("upload_bytes", self.upload_bytes),
            ("sockets_per_user", self.sockets_per_user.map(u64::from)),
            ("sockets_per_tenant", self.sockets_per_tenant.map(u64::from)),
        ];
        let wrong = limits.into_iter().filter(|(_, limit)| limit.is_some_and(|limit| !possible.contains(&limit)));
        let describe = |(name, _)| {
            let detail = format!("must be 1 to {}", i64::MAX);
            FieldError::new(format!("/limits/{name}"), "out_of_range", detail)
        };
        wrong.map(describe).collect()
    }
}

impl TenantView {
    fn new(tenant: Tenant, limits: &TenantLimits) -> Self {
        let Tenant { id, name, state, weight, created_at, upscale_model, detect_model } = tenant;
        let models = OwnModels { upscale: upscale_model, detect: detect_model };
        Self { id, name, state, weight, limits: OwnLimits::of(limits), models, created_at }
    }
}

/// What is changed of a tenant, as a merge patch (RFC 7396).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantPatch {
    /// Unique in the deployment, 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200, pattern = "\\S")]
    pub name: Option<String>,
    /// Suspending acts at once.
    pub state: Option<TenantState>,
    /// Its share of the devices relative to other tenants, 0.01 to 100; holds from the next batch on.
    #[schema(minimum = 0.01, maximum = 100)]
    pub weight: Option<f64>,
    /// Limits of its own; null takes one away.
    #[serde(default, deserialize_with = "object")]
    pub limits: LimitsPatch,
    /// Default models of its own; null takes one away.
    #[serde(default, deserialize_with = "object")]
    pub models: ModelsPatch,
}

/// Which limits are changed: a value sets, null takes away, what is missing stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsPatch {
    #[serde(deserialize_with = "present")]
    #[schema(minimum = 1)]
    concurrent_exports: Option<Option<u32>>,
    #[serde(deserialize_with = "present")]
    #[schema(minimum = 1)]
    queued_exports: Option<Option<u32>>,
    #[serde(deserialize_with = "present")]
    #[schema(minimum = 1)]
    interactive_frames: Option<Option<u32>>,
    #[serde(deserialize_with = "present")]
    #[schema(minimum = 1)]
    storage_bytes: Option<Option<u64>>,
    #[serde(deserialize_with = "present")]
    #[schema(minimum = 1)]
    upload_bytes: Option<Option<u64>>,
    #[serde(deserialize_with = "present")]
    requests_per_second: Option<Option<u32>>,
    #[serde(deserialize_with = "present")]
    #[schema(minimum = 1)]
    sockets_per_user: Option<Option<u32>>,
    #[serde(deserialize_with = "present")]
    #[schema(minimum = 1)]
    sockets_per_tenant: Option<Option<u32>>,
}

/// A tenant to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    /// Unique in the deployment.
    #[schema(example = "FC Example", min_length = 1, max_length = 200, pattern = "\\S")]
    pub name: String,
}

/// Lists the tenants, newest first.
#[utoipa::path(tag = "admin", params(PageQuery), responses((status = 200, description = "a page", body = Listing<TenantView>), ReadRefusals))]
#[get("/admin/tenants")]
pub async fn list_tenants(
    _: Operator,
    page: Query<PageQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let page = tenants::list(&state.db, &page.request()?).await?;
    let ids: Vec<_> = page.items.iter().map(|tenant| tenant.id).collect();
    let limits = tenant_limits::get_many(&state.db, &ids).await?;
    let view = |tenant: Tenant| {
        let own = limits.iter().find(|limits| limits.tenant_id == tenant.id).cloned();
        let own = own.unwrap_or_else(|| TenantLimits::none(tenant.id));
        TenantView::new(tenant, &own)
    };
    Ok(HttpResponse::Ok().json(Listing::from(page.map(view))))
}

/// Creates a tenant.
#[utoipa::path(tag = "admin", responses((status = 201, description = "the tenant", body = TenantView), WriteRefusals))]
#[post("/admin/tenants")]
pub async fn create_tenant(
    operator: Operator,
    new: Json<NewTenant>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let name = new.name.trim();
    if !is_name(name) {
        return Err(Problem::invalid_field("/name", "length", NAME_LENGTH));
    }
    let tenant = tenants::create(&state.db, name).await?;
    audit::note(&state, &operator, Some(tenant.id), "tenant.create", tenant.id, json!({"name": tenant.name})).await;
    let limits = TenantLimits::none(tenant.id);
    Ok(HttpResponse::Created().json(TenantView::new(tenant, &limits)))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().count() <= LONGEST_NAME
}

/// Reads a tenant.
#[utoipa::path(tag = "admin", params(("id" = TenantId, Path)), responses((status = 200, description = "the tenant", body = TenantView), ReadRefusals))]
#[get("/admin/tenants/{id}")]
pub async fn get_tenant(_: Operator, id: Id<TenantId>, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let tenant = tenants::get(&state.db, id.0).await?.ok_or_else(|| Problem::not_found("tenant"))?;
    let limits = tenant_limits::get(&state.db, id.0).await?;
    Ok(HttpResponse::Ok().json(TenantView::new(tenant, &limits)))
}

/// Changes a tenant's name, state, weight or limits, by a merge patch (RFC 7396); takes effect at once.
#[utoipa::path(tag = "admin", params(("id" = TenantId, Path)), responses((status = 200, description = "the tenant", body = TenantView), WriteRefusals))]
#[patch("/admin/tenants/{id}")]
pub async fn change_tenant(
    operator: Operator,
    id: Id<TenantId>,
    patch: Json<TenantPatch>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let patch = patch.into_inner();
    let mut wrong = patch.models.check(&state);
    let name = patch.name.as_deref().map(|name| name.trim().to_owned());
    if name.as_deref().is_some_and(|name| !is_name(name)) {
        wrong.push(FieldError::new("/name", "length", NAME_LENGTH));
    }
    if patch.weight.is_some_and(|weight| !(0.01..=100.0).contains(&weight)) {
        wrong.push(FieldError::new("/weight", "out_of_range", "must be 0.01 to 100"));
    }
    let limits = |now: &TenantLimits| {
        let own = OwnLimits::of(now).patched(&patch.limits);
        let wrong: Vec<_> = own.check().into_iter().chain(wrong).collect();
        if wrong.is_empty() { Ok(own.row(id.0)) } else { Err(wrong) }
    };
    let change = TenantChange {
        name,
        state: patch.state,
        weight: patch.weight,
        upscale_model: patch.models.upscale,
        detect_model: patch.models.detect,
    };
    let changed =
        tenants::change(&state.db, id.0, change, limits).await?.ok_or_else(|| Problem::not_found("tenant"))?;
    let ((before, limits_before), (tenant, limits)) = changed.map_err(|wrong| {
        Problem::invalid("invalid_request", "the tenant would not be valid; nothing was changed", wrong)
    })?;
    state.principals.forget();
    state.node.devices.set_weight(id.0, tenant.weight);
    let (before, after) = (TenantView::new(before, &limits_before), TenantView::new(tenant, &limits));
    let details = differences(&json!(before), &json!(after));
    audit::note(&state, &operator, Some(id.0), "tenant.change", id.0, details).await;
    Ok(HttpResponse::Ok().json(after))
}
