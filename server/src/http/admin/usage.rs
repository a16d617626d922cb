//! What every tenant used.

use actix_web::{HttpResponse, get, web};
use entities::usage;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::http::extract::{Listing, Operator, Query};
use crate::http::problem::Problem;
use crate::http::refusals::ReadRefusals;
use crate::http::state::State;
use crate::http::usage::PeriodQuery;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(read_usage_of_all);
}

/// Returns the usage of each tenant.
#[utoipa::path(tag = "admin", params(PeriodQuery), responses((status = 200, description = "one entry for each tenant", body = Listing<usage::TenantTotals>), ReadRefusals))]
#[get("/admin/usage")]
pub async fn read_usage_of_all(
    _: Operator,
    period: Query<PeriodQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let items = usage::by_tenant(&state.db, period.period()?).await?;
    Ok(HttpResponse::Ok().json(Listing { items, next_cursor: None }))
}
