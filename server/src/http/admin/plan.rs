//! How many devices a job should take.

use actix_web::{HttpResponse, get, web};
use edits::planner::{Job, Plan, Policy};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::extract::Operator;
use crate::http::problem::Problem;
use crate::http::refusals::ReadRefusals;
use crate::http::state::State;

/// The job to plan.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PlanQuery {
    /// Frames to render, at least 1.
    #[param(minimum = 1)]
    pub frames: u64,
    /// Device time of one frame, in milliseconds.
    #[param(minimum = 0)]
    pub frame_ms: f64,
    /// Start-up of each worker, in seconds; 0 for warm devices.
    #[serde(default)]
    #[param(minimum = 0)]
    pub startup_s: f64,
    /// Transfer to each worker, in seconds; 0 on one node.
    #[serde(default)]
    #[param(minimum = 0)]
    pub transfer_s: f64,
    /// Price of a device second; without it the settings'.
    #[param(minimum = 0)]
    pub price: Option<f64>,
    /// Most devices to consider, 1 to 65536; 8 when not given.
    #[param(minimum = 1, maximum = 65536)]
    pub max_devices: Option<u32>,
    /// What counts; `balanced` when not given.
    pub policy: Option<Policy>,
}

const MAX_DEVICES: u32 = 8;
const MOST_DEVICES: u32 = 65_536;

/// Compares 1, 2, 4, … devices for a job: wall time, device seconds and cost, and which the policy chooses.
#[utoipa::path(tag = "admin", params(PlanQuery), responses((status = 200, description = "the rows and the choice", body = Plan), ReadRefusals))]
#[get("/admin/plan")]
pub async fn plan_job(
    _: Operator,
    query: web::Query<PlanQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let query = query.into_inner();
    let price = query.price.unwrap_or(state.node.live.borrow().live.planner.price_per_device_second);
    for (name, value) in [
        ("frame_ms", query.frame_ms),
        ("startup_s", query.startup_s),
        ("transfer_s", query.transfer_s),
        ("price", price),
    ] {
        if !(value.is_finite() && value >= 0.0) {
            return Err(Problem::bad_request("bad_query", format!("{name} must be a number of 0 or more")));
        }
    }
    let max_devices = query.max_devices.unwrap_or(MAX_DEVICES);
    if query.frames == 0 || !(1..=MOST_DEVICES).contains(&max_devices) {
        let detail = format!("frames must be at least 1 and max_devices 1 to {MOST_DEVICES}");
        return Err(Problem::bad_request("bad_query", detail));
    }
    let job = Job {
        frames: query.frames,
        frame_seconds: query.frame_ms / 1e3,
        worker_seconds: query.startup_s + query.transfer_s,
        price,
        max_devices,
    };
    Ok(HttpResponse::Ok().json(Plan::new(&job, &[], query.policy.unwrap_or(Policy::Balanced))))
}
