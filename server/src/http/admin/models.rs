//! The models of this node.

use std::sync::Arc;

use actix_web::{HttpResponse, get, post, web};
use models::{ModelKind, ModelStatus, ModelStore};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use super::audit;
use crate::http::extract::{Listing, Operator};
use crate::http::problem::Problem;
use crate::http::refusals::{ReadRefusals, WriteRefusals};
use crate::http::state::State;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(list_models).service(load_model);
}

/// A model, and where it is loaded.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Model)]
pub struct ModelView {
    /// As specs and settings name it.
    pub name: String,
    /// `upscaler` or `detector`.
    pub kind: &'static str,
    /// Output side over input side; 1 for a detector.
    pub scale: u32,
    /// Whether it is what `auto` stands for, unless a tenant has a default of its own.
    pub default: bool,
    /// Devices of this node that have loaded it. Others do when an export first asks for it.
    pub loaded_on: Vec<String>,
    /// Its licence.
    pub licence: String,
    /// Where it comes from.
    pub source: String,
    /// SHA-256 of its file.
    pub sha256: String,
    /// Its file is there and has that sum.
    pub verified: bool,
    /// What is wrong and what to do, if it is not.
    pub problem: Option<String>,
    /// Providers and precisions that this machine can run it with.
    pub runs_on: Vec<String>,
}

/// Lists the models there are, and which devices have loaded them. A node that only simulates has none.
#[utoipa::path(tag = "admin", responses((status = 200, description = "the models", body = Listing<ModelView>), ReadRefusals))]
#[get("/admin/models")]
pub async fn list_models(_: Operator, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let items = match state.node.devices.models() {
        Some(store) => views(&state, Arc::clone(store)).await?,
        None => Vec::new(),
    };
    Ok(HttpResponse::Ok().json(Listing { items, next_cursor: None }))
}

/// Loads a model on every device of this node, each after its running batches. `GET /admin/models` shows which devices
/// have loaded it; the reason for a failure is in the log and in the device's `last_error`.
#[utoipa::path(tag = "admin", params(("id" = String, Path, description = "the model's name")), responses((status = 202, description = "accepted: the devices load it"), WriteRefusals))]
#[post("/admin/models/{id}/load")]
pub async fn load_model(
    operator: Operator,
    id: web::Path<String>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let known = state.node.devices.models().is_some_and(|store| store.kind(&id).is_ok());
    if !known {
        return Err(Problem::not_found("model"));
    }
    // Not awaited: a large network is measured for minutes when it is first used on a machine.
    let (node, model) = (state.node.clone(), id.clone());
    actix_web::rt::spawn(async move {
        if let Err(error) = node.devices.load_model(&model).await {
            tracing::error!(%error, model, "a model does not load");
        }
    });
    audit::note(&state, &operator, None, "model.load", id.as_str(), json!({})).await;
    Ok(HttpResponse::Accepted().finish())
}

async fn views(state: &State, store: Arc<ModelStore>) -> Result<Vec<ModelView>, Problem> {
    // Reads and sums every file: off the arbiter.
    let listed = {
        let store = Arc::clone(&store);
        web::block(move || models::list(&store)).await
    };
    let listed = listed.map_err(|error| Problem::internal("listing the models", error))?;
    let devices = state.node.readiness().devices;
    let live = state.node.live.borrow().live.clone();
    let view = |model: ModelStatus| {
        let loaded = devices.iter().filter(|device| device.models.contains(&model.name));
        let offered = model.runs_on.iter().filter(|offer| offer.offered);
        ModelView {
            kind: match model.kind {
                ModelKind::Upscaler => "upscaler",
                ModelKind::Detector => "detector",
            },
            scale: store.scale(&model.name).unwrap_or(1),
            default: [&live.upscale.model, &live.detect.model].contains(&&model.name),
            loaded_on: loaded.map(|device| device.id.to_string()).collect(),
            runs_on: offered
                .map(|offer| format!("{}: {:?} {:?}", offer.device, offer.provider, offer.precision))
                .collect(),
            name: model.name,
            licence: model.licence,
            source: model.source,
            sha256: model.sha256,
            verified: model.verified,
            problem: model.problem,
        }
    };
    Ok(listed.into_iter().map(view).collect())
}
