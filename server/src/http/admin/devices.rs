//! The devices of this node.

use actix_web::{HttpResponse, get, web};

use crate::http::extract::Operator;
use crate::http::refusals::ReadRefusals;
use crate::http::state::State;

/// Tells how every device is doing.
#[utoipa::path(tag = "admin", responses((status = 200, description = "the devices", body = serde_json::Value), ReadRefusals))]
#[get("/admin/devices")]
pub async fn list_devices(_: Operator, state: web::Data<State>) -> HttpResponse {
    let devices = state.node.readiness().devices;
    HttpResponse::Ok().json(serde_json::json!({ "items": devices, "next_cursor": null }))
}
