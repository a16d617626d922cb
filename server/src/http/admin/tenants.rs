//! The tenants of the deployment.

use actix_web::{HttpResponse, get, patch, post, web};
use chrono::{DateTime, Utc};
use edits::FieldError;
use entities::TenantId;
use entities::tenant_limits::{self, TenantLimits};
use entities::tenants::{self, Tenant, TenantChange, TenantState};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::http::extract::{Id, Listing, Operator, PageQuery};
use crate::http::problem::Problem;
use crate::http::refusals::{ReadRefusals, WriteRefusals};
use crate::http::state::State;

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
    /// Limits of its own; null: as for everybody.
    pub limits: OwnLimits,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// Limits of one tenant, in place of the deployment's.
#[derive(Debug, Clone, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OwnLimits {
    /// Exports at work at once; further ones wait.
    pub concurrent_exports: Option<u32>,
    /// Exports waiting or at work; one more is refused.
    pub queued_exports: Option<u32>,
    /// Single frames looked at at once; one more is refused.
    pub interactive_frames: Option<u32>,
    /// Bytes of stored videos and results.
    pub storage_bytes: Option<u64>,
    /// Bytes of one upload.
    pub upload_bytes: Option<u64>,
    /// Requests a second; 0: unlimited.
    pub requests_per_second: Option<u32>,
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
        }
    }

    fn check(&self) -> Vec<FieldError> {
        let zero = [
            ("concurrent_exports", self.concurrent_exports.map(u64::from)),
            ("queued_exports", self.queued_exports.map(u64::from)),
            ("interactive_frames", self.interactive_frames.map(u64::from)),
            ("storage_bytes", self.storage_bytes),
            ("upload_bytes", self.upload_bytes),
        ];
        let wrong = zero.into_iter().filter(|(_, limit)| *limit == Some(0));
        wrong
            .map(|(name, _)| FieldError::new(format!("/limits/{name}"), "out_of_range", "must be at least 1"))
            .collect()
    }
}

impl TenantView {
    fn new(tenant: Tenant, limits: &TenantLimits) -> Self {
        let Tenant { id, name, state, weight, created_at } = tenant;
        Self { id, name, state, weight, limits: OwnLimits::of(limits), created_at }
    }
}

/// What is changed of a tenant, as a merge patch (RFC 7396).
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantPatch {
    /// Unique in the deployment.
    pub name: Option<String>,
    /// Suspending acts at once.
    pub state: Option<TenantState>,
    /// Its share of the devices relative to other tenants, 0.01 to 100; holds from the next batch on.
    pub weight: Option<f64>,
    /// Limits of its own; null takes one away.
    #[serde(default)]
    pub limits: LimitsPatch,
}

/// Which limits are changed: a value sets, null takes away, what is missing stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsPatch {
    #[serde(deserialize_with = "present")]
    concurrent_exports: Option<Option<u32>>,
    #[serde(deserialize_with = "present")]
    queued_exports: Option<Option<u32>>,
    #[serde(deserialize_with = "present")]
    interactive_frames: Option<Option<u32>>,
    #[serde(deserialize_with = "present")]
    storage_bytes: Option<Option<u64>>,
    #[serde(deserialize_with = "present")]
    upload_bytes: Option<Option<u64>>,
    #[serde(deserialize_with = "present")]
    requests_per_second: Option<Option<u32>>,
}

/// Tells a null from what is missing.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// A tenant to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTenant {
    /// Unique in the deployment.
    #[schema(example = "FC Example")]
    pub name: String,
}

/// Lists the tenants, newest first.
#[utoipa::path(tag = "admin", params(PageQuery), responses((status = 200, description = "a page", body = Listing<TenantView>), ReadRefusals))]
#[get("/admin/tenants")]
pub async fn list_tenants(
    _: Operator,
    page: web::Query<PageQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let page = tenants::list(&state.node.db, &page.request()?).await?;
    let ids: Vec<_> = page.items.iter().map(|tenant| tenant.id).collect();
    let limits = tenant_limits::get_many(&state.node.db, &ids).await?;
    let view = |tenant: Tenant| {
        let own = limits.iter().find(|limits| limits.tenant_id == tenant.id).cloned();
        let own = own.unwrap_or_else(|| TenantLimits::none(tenant.id));
        TenantView::new(tenant, &own)
    };
    Ok(HttpResponse::Ok().json(Listing::from(page.map(view))))
}

/// Makes a tenant.
#[utoipa::path(tag = "admin", responses((status = 201, description = "the tenant", body = TenantView), WriteRefusals))]
#[post("/admin/tenants")]
pub async fn create_tenant(
    _: Operator,
    new: web::Json<NewTenant>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let name = new.name.trim();
    if !is_name(name) {
        return Err(Problem::invalid_field("/name", "length", NAME_LENGTH));
    }
    let tenant = tenants::create(&state.node.db, name).await?;
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
    let tenant = tenants::get(&state.node.db, id.0).await?.ok_or_else(|| Problem::not_found("tenant"))?;
    let limits = tenant_limits::get(&state.node.db, id.0).await?;
    Ok(HttpResponse::Ok().json(TenantView::new(tenant, &limits)))
}

/// Changes a tenant's name, state, weight or limits, by a merge patch (RFC 7396); takes effect at once.
#[utoipa::path(tag = "admin", params(("id" = TenantId, Path)), responses((status = 200, description = "the tenant", body = TenantView), WriteRefusals))]
#[patch("/admin/tenants/{id}")]
pub async fn change_tenant(
    _: Operator,
    id: Id<TenantId>,
    patch: web::Json<TenantPatch>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let db = &state.node.db;
    if tenants::get(db, id.0).await?.is_none() {
        return Err(Problem::not_found("tenant"));
    }
    let own = OwnLimits::of(&tenant_limits::get(db, id.0).await?).patched(&patch.limits);
    let mut wrong = own.check();
    let name = patch.name.as_deref().map(|name| name.trim().to_owned());
    if name.as_deref().is_some_and(|name| !is_name(name)) {
        wrong.push(FieldError::new("/name", "length", NAME_LENGTH));
    }
    if patch.weight.is_some_and(|weight| !(0.01..=100.0).contains(&weight)) {
        wrong.push(FieldError::new("/weight", "out_of_range", "must be 0.01 to 100"));
    }
    if !wrong.is_empty() {
        return Err(Problem::invalid("invalid_request", "the tenant would not be valid; nothing was changed", wrong));
    }
    let limits = own.row(id.0);
    let change = TenantChange { name, state: patch.state, weight: patch.weight };
    let tenant = tenants::change(db, id.0, change, &limits).await?.ok_or_else(|| Problem::not_found("tenant"))?;
    state.node.shared.queue.weigh(id.0, tenant.weight);
    Ok(HttpResponse::Ok().json(TenantView::new(tenant, &limits)))
}
