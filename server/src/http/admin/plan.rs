//! How many devices a job should take.

use actix_web::{HttpResponse, get, web};
use edits::planner::{Job, Plan, Policy};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::http::extract::{Operator, Query};
use crate::http::problem::Problem;
use crate::http::refusals::ReadRefusals;
use crate::http::state::State;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(plan_job);
}

/// The job to plan.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PlanQuery {
    /// Frames to render, 1 to a thousand million.
    #[param(minimum = 1, maximum = 1_000_000_000)]
    pub frames: u64,
    /// Device time of one frame, in milliseconds.
    #[param(minimum = 0, maximum = 1_000_000_000)]
    pub frame_ms: f64,
    /// Start-up of each worker, in seconds; 0 for warm devices.
    #[serde(default)]
    #[param(minimum = 0, maximum = 1_000_000_000)]
    pub startup_s: f64,
    /// Transfer to each worker, in seconds; 0 on one node.
    #[serde(default)]
    #[param(minimum = 0, maximum = 1_000_000_000)]
    pub transfer_s: f64,
    /// Price of a device second; without it the settings'.
    #[param(minimum = 0, maximum = 1_000_000_000)]
    pub price: Option<f64>,
    /// Most devices to consider, 1 to 65536; 8 when not given.
    #[param(minimum = 1, maximum = 65536)]
    pub max_devices: Option<u32>,
    /// What counts; `balanced` when not given.
    pub policy: Option<Policy>,
}

const MAX_DEVICES: u32 = 8;
const MOST_DEVICES: u32 = 65_536;
const MOST_FRAMES: u64 = 1_000_000_000;
/// The largest time or price: sums and products of such are still numbers.
const MOST: f64 = 1e9;

/// Compares 1, 2, 4, … devices for a job: wall time, device seconds and cost, and which the policy chooses.
#[utoipa::path(tag = "admin", params(PlanQuery), responses((status = 200, description = "the rows and the choice", body = Plan), ReadRefusals))]
#[get("/admin/plan")]
pub async fn plan_job(_: Operator, query: Query<PlanQuery>, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let query = query.into_inner();
    let price = query.price.unwrap_or(state.node.live.borrow().live.planner.price_per_device_second);
    for (name, value) in [
        ("frame_ms", query.frame_ms),
        ("startup_s", query.startup_s),
        ("transfer_s", query.transfer_s),
        ("price", price),
    ] {
        if !(0.0..=MOST).contains(&value) {
            return Err(Problem::bad_request("bad_query", format!("{name} must be a number of 0 to {MOST}")));
        }
    }
    let max_devices = query.max_devices.unwrap_or(MAX_DEVICES);
    if !(1..=MOST_FRAMES).contains(&query.frames) || !(1..=MOST_DEVICES).contains(&max_devices) {
        let detail = format!("frames must be 1 to {MOST_FRAMES} and max_devices 1 to {MOST_DEVICES}");
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
