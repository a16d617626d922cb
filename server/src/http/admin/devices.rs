//! The devices of this node.

use actix_web::{HttpResponse, get, post, web};
use actors::inference::device::{DeviceState, Operation};
use serde_json::json;
use utoipa_actix_web::service_config::ServiceConfig;

use super::audit;
use crate::http::extract::{Listing, Operator};
use crate::http::problem::Problem;
use crate::http::refusals::{ReadRefusals, WriteRefusals};
use crate::http::state::State;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(list_devices).service(drain_device).service(disable_device).service(enable_device);
}

/// Reads the state of every device.
#[utoipa::path(tag = "admin", responses((status = 200, description = "the devices", body = Listing<DeviceState>), ReadRefusals))]
#[get("/admin/devices")]
pub async fn list_devices(_: Operator, state: web::Data<State>) -> HttpResponse {
    let items = state.node.readiness().devices;
    HttpResponse::Ok().json(Listing { items, next_cursor: None })
}

/// Takes a device out of use when its running batches are done. It stays out until it is enabled or the server is
/// restarted.
#[utoipa::path(tag = "admin", params(("id" = String, Path, description = "such as cuda:0")), responses((status = 200, description = "the device", body = DeviceState), WriteRefusals))]
#[post("/admin/devices/{id}/drain")]
pub async fn drain_device(
    operator: Operator,
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    operate(&state, &operator, &id, Operation::Drain, "device.drain").await
}

/// Takes a device out of use at once: its frames go to the other devices. It stays out until it is enabled or the
/// server is restarted.
#[utoipa::path(tag = "admin", params(("id" = String, Path, description = "such as cuda:0")), responses((status = 200, description = "the device", body = DeviceState), WriteRefusals))]
#[post("/admin/devices/{id}/disable")]
pub async fn disable_device(
    operator: Operator,
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    operate(&state, &operator, &id, Operation::Disable, "device.disable").await
}

/// Brings a device back: one that was drained or disabled, or one that is out of service, without waiting for its next
/// try.
#[utoipa::path(tag = "admin", params(("id" = String, Path, description = "such as cuda:0")), responses((status = 200, description = "the device", body = DeviceState), WriteRefusals))]
#[post("/admin/devices/{id}/enable")]
pub async fn enable_device(
    operator: Operator,
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    operate(&state, &operator, &id, Operation::Enable, "device.enable").await
}

async fn operate(
    state: &State,
    operator: &Operator,
    id: &str,
    operation: Operation,
    action: &'static str,
) -> Result<HttpResponse, Problem> {
    let device = state.node.devices.operate(id, operation).await?;
    let device = device.ok_or_else(|| Problem::not_found("device"))?;
    audit::note(state, operator, None, action, id, json!({})).await;
    Ok(HttpResponse::Ok().json(device))
}
