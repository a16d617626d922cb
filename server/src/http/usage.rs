//! What a tenant used: its own accounts.

use actix_web::{HttpResponse, get, web};
use chrono::{DateTime, Utc};
use entities::ExportId;
use entities::usage::{self, DeviceTotals, ExportTotals, Period, Totals};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::extract::{Query, Viewer};
use super::problem::Problem;
use super::refusals::ReadRefusals;
use super::state::State;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(read_usage);
}

/// Exports of an answer, unless `limit` says otherwise, and at most.
const USUAL: u64 = 50;
const MOST: u64 = 200;

/// Which time.
#[derive(Debug, Clone, Copy, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PeriodQuery {
    /// The first instant that counts; none: from the beginning.
    pub from: Option<DateTime<Utc>>,
    /// The first instant that does not count any more; none: until now.
    pub to: Option<DateTime<Utc>>,
}

impl PeriodQuery {
    /// The period.
    ///
    /// # Errors
    /// 400 when it ends before it begins.
    pub fn period(self) -> Result<Period, Problem> {
        let Self { from, to } = self;
        if from.zip(to).is_some_and(|(from, to)| to < from) {
            return Err(Problem::bad_request("bad_query", "`to` is before `from`"));
        }
        Ok(Period { from, to })
    }
}

/// Which exports are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportsQuery {
    /// Exports of an answer, 1 to 200; 50 when not given.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u64>,
    /// Where to go on: the last answer's `next_cursor`.
    pub cursor: Option<ExportId>,
}

/// What a tenant used, in sum, by device and by export.
#[derive(Debug, Serialize, ToSchema)]
pub struct Usage {
    /// Everything in the period.
    pub total: Totals,
    /// By device.
    pub devices: Vec<DeviceTotals>,
    /// By export, newest first; single frames together, last.
    pub exports: Vec<ExportTotals>,
    /// The `cursor` of the next exports; `null` when there are no more.
    pub next_cursor: Option<ExportId>,
}

/// Reads what the tenant used. Deleted exports stay in the accounts; what was thrown away, such as a failed try, is not
/// in them.
#[utoipa::path(tag = "tenant", params(PeriodQuery, ExportsQuery), responses((status = 200, description = "what was used", body = Usage), ReadRefusals))]
#[get("/usage")]
pub async fn read_usage(
    viewer: Viewer,
    period: Query<PeriodQuery>,
    exports: Query<ExportsQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let (db, tenant, period) = (&state.db, viewer.tenant, period.period()?);
    let limit = exports.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::bad_request("bad_query", format!("limit is 1 to {MOST}")));
    }
    let total = usage::of_tenant(db, tenant, period).await?;
    let devices = usage::devices_of_tenant(db, tenant, period).await?;
    let mut exports = usage::exports_of_tenant(db, tenant, period, exports.cursor, limit + 1).await?;
    let more = exports.len() as u64 > limit;
    exports.truncate(limit as usize);
    let next_cursor = exports.last().filter(|_| more).and_then(|last| last.export_id);
    Ok(HttpResponse::Ok().json(Usage { total, devices, exports, next_cursor }))
}
