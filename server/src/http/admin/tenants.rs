//! The tenants of the deployment.

use actix_web::{HttpResponse, get, post, web};
use chrono::{DateTime, Utc};
use entities::TenantId;
use entities::tenants::{self, Tenant, TenantState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::extract::{Listing, Operator, PageQuery};
use crate::http::problem::Problem;
use crate::http::refusals::{ReadRefusals, WriteRefusals};
use crate::http::state::State;

/// The longest name of a tenant, in characters.
const LONGEST_NAME: usize = 200;

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
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl From<Tenant> for TenantView {
    fn from(tenant: Tenant) -> Self {
        let Tenant { id, name, state, weight, created_at } = tenant;
        Self { id, name, state, weight, created_at }
    }
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
    Ok(HttpResponse::Ok().json(Listing::from(page.map(TenantView::from))))
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
    if name.is_empty() || name.chars().count() > LONGEST_NAME {
        return Err(Problem::invalid_field("/name", "length", format!("a name has 1 to {LONGEST_NAME} characters")));
    }
    let tenant = tenants::create(&state.node.db, name).await?;
    Ok(HttpResponse::Created().json(TenantView::from(tenant)))
}
