//! Exports: requests to render something, their progress and their results.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, delete, get, post, route, web};
use actors::checksum::hex;
use actors::exports::error::RequestError;
use actors::exports::estimate::Estimate;
use actors::exports::request::NewRequest;
use actors::progress::message::Progress;
use chrono::{DateTime, Utc};
use entities::exports::{self, Cancelled, Estimated, Export, ExportKind, ExportState, Filter, Retried};
use entities::idempotency::RequestKey;
use entities::{ExportId, ReelId, Subject, TenantId, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::content::{FileAnswers, StoredFile, strong_tag};
use super::detections::{Detections, DetectionsQuery, read_detections};
use super::extract::{Editor, Id, Json, Listing, PageQuery, Query, Row, Viewer};
use super::problem::Problem;
use super::refusals::{ReadRefusals, WriteRefusals};
use super::state::State;

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(create_export)
        .service(estimate_export)
        .service(list_exports)
        .service(cancel_export)
        .service(retry_export)
        .service(download_export)
        .service(read_export_detections)
        .service(get_export)
        .service(delete_export);
}

/// An export. Progress messages have the same fields, with `export_id` for `id`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Export)]
pub struct ExportView {
    /// The export.
    pub id: ExportId,
    /// What kind of thing is rendered.
    pub kind: ExportKind,
    /// Where it stands; `complete`, `failed` and `cancelled` are final.
    pub state: ExportState,
    /// What was asked for, up to 1 MiB; lists leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spec: Option<serde_json::Value>,
    /// Counts from 1.
    pub attempt: i32,
    /// 0 to 1; never goes back.
    pub progress: f64,
    /// Output frames that are finished, with those that are copied as they are; all of them when it is complete.
    pub frames_done: i64,
    /// Output frames in all.
    pub frames_total: i64,
    /// Frames that ran through a model.
    pub frames_inferred: i64,
    /// Output frames a second, lately; 0 unless it runs.
    pub fps: f64,
    /// Seconds left, where that can be estimated.
    pub eta_seconds: Option<f64>,
    /// What is being done, for a person.
    pub message: String,
    /// What was not as it should be, but did not stop it.
    pub warnings: serde_json::Value,
    /// Why it failed, as a problem object.
    pub problem: Option<serde_json::Value>,
    /// Device time used, in seconds.
    pub device_seconds: f64,
    /// What that costs; while it runs, at the price now in force.
    pub cost: f64,
    /// What it was expected to take when it was accepted.
    pub estimate: Option<Estimated>,
    /// Made with a simulated device.
    pub simulated: bool,
    /// The final report.
    pub report: Option<serde_json::Value>,
    /// Size of the result.
    pub result_bytes: Option<i64>,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When work on it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// Who asked for it.
    pub created_by: Option<UserId>,
    /// The reel whose edits were copied in.
    pub reel_id: Option<ReelId>,
    /// Its version then.
    pub reel_version: Option<i64>,
}

impl From<Export> for ExportView {
    fn from(export: Export) -> Self {
        Self {
            estimate: export.estimate(),
            id: export.id,
            kind: export.kind.0,
            state: export.state,
            spec: None,
            attempt: export.attempt,
            progress: export.progress,
            frames_done: export.frames_done,
            frames_total: export.frames_total,
            frames_inferred: export.frames_inferred,
            fps: 0.0,
            eta_seconds: None,
            message: export.message,
            warnings: export.warnings,
            problem: export.problem,
            device_seconds: export.device_seconds,
            cost: export.cost,
            simulated: export.simulated,
            report: export.report,
            result_bytes: export.result_bytes,
            created_at: export.created_at,
            started_at: export.started_at,
            finished_at: export.finished_at,
            created_by: export.created_by,
            reel_id: export.reel_id,
            reel_version: export.reel_version,
        }
    }
}

impl ExportView {
    /// An export with what was asked for, and its live figures.
    pub(super) async fn with_spec(state: &State, export: Export) -> Result<Self, Problem> {
        let spec = exports::spec(&state.db, export.tenant_id, export.id).await?;
        let latest = latest(state, std::slice::from_ref(&export)).await?;
        Ok(Self { spec, ..Self::live(export, &latest) })
    }

    /// An export with the figures that its subscribers got last: its row is stored less often than those are published.
    pub(super) fn live(export: Export, latest: &Latest) -> Self {
        let mut view = Self::from(export);
        if view.finished_at.is_some() {
            return view;
        }
        if let Some(latest) = latest.progress.get(&view.id) {
            // Both of one moment; a row that is ahead has been written since by the export's node.
            if latest.progress >= view.progress {
                (view.progress, view.frames_done) = (latest.progress, latest.frames_done);
            }
            (view.fps, view.eta_seconds) = (latest.fps, latest.eta_seconds);
            view.device_seconds = view.device_seconds.max(latest.device_seconds);
        }
        view.cost = view.device_seconds * latest.price;
        view
    }
}

/// What is known of running exports beside their rows.
pub(super) struct Latest {
    /// The progress last published, of those that are live.
    progress: HashMap<ExportId, Arc<Progress>>,
    /// The price of a device second.
    price: f64,
}

/// Reads the live figures of `exports`.
pub(super) async fn latest(state: &State, exports: &[Export]) -> Result<Latest, Problem> {
    let running = exports.iter().filter(|export| export.finished_at.is_none());
    let running: Vec<_> = running.map(|export| (export.tenant_id, export.id)).collect();
    let progress = if running.is_empty() { HashMap::new() } else { state.node.progress.latest(running).await? };
    let price = state.node.live.borrow().live.planner.price_per_device_second;
    Ok(Latest { progress, price })
}

/// Which exports are listed.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// Only of this kind.
    pub kind: Option<ExportKind>,
    /// Only in this state.
    pub state: Option<ExportState>,
}

/// What is to be rendered: a spec, or a reel.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum ExportRequest {
    /// A spec.
    Spec(edits::ExportSpec),
    /// The edits of a reel.
    Reel(ReelRequest),
}

/// The edits of a reel as they are now. Further members of the kind's spec are laid over them.
#[derive(Serialize, ToSchema)]
pub struct ReelRequest {
    /// The reel.
    reel_id: ReelId,
    /// Which of its edits; `framing` when not given.
    kind: Option<ReelEdits>,
    /// What an overlay is drawn on, where the reel does not say it.
    source: Option<edits::OverlaySource>,
}

/// The edits a reel has.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReelEdits {
    /// Cropped, upscaled and joined.
    Framing,
    /// A spotlight and texts.
    Overlay,
}

/// Accepts a spec for rendering. Every mistake in it is reported at once.
///
/// A request repeated within a day under the same `Idempotency-Key` gets the export that the first one began; the key
/// with another body is refused.
#[utoipa::path(
    tag = "exports",
    params(("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[ -~]+$", description = "1 to 255 printable ASCII characters of the client's choice")),
    request_body(content = ExportRequest, content_type = "application/json"),
    responses(
        (status = 202, description = "accepted, in state `queued`", body = ExportView, headers(("Location" = String))),
        WriteRefusals
    )
)]
#[post("/exports")]
pub async fn create_export(
    editor: Editor,
    request: HttpRequest,
    spec: Json<serde_json::Value>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let key = idempotency_key(request.headers(), &spec)?;
    let (tenant, by) = (editor.tenant, editor.user());
    let request = NewRequest { tenant, by, body: spec.into_inner(), input: None, key };
    let export = state.node.exports.start(request).await.map_err(refused)?;
    Ok(HttpResponse::Accepted()
        .insert_header((header::LOCATION, format!("/api/v1/exports/{}", export.id)))
        .json(ExportView::with_spec(&state, export).await?))
}

/// Estimates what an export would take, without starting it. The body is that of an export, with the same checks.
#[utoipa::path(
    tag = "exports",
    request_body(content = ExportRequest, content_type = "application/json"),
    responses((status = 200, description = "what it is expected to take", body = Estimate), WriteRefusals)
)]
#[post("/exports/estimate")]
pub async fn estimate_export(
    editor: Editor,
    spec: Json<serde_json::Value>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let (tenant, by) = (editor.tenant, editor.user());
    let request = NewRequest { tenant, by, body: spec.into_inner(), input: None, key: None };
    Ok(HttpResponse::Ok().json(state.node.exports.estimate(request).await.map_err(refused)?))
}

/// The longest idempotency key, in bytes.
const LONGEST_KEY: usize = 255;

/// The key under which a request may be repeated. Bodies are compared as JSON values: the order of members is no matter.
fn idempotency_key(headers: &HeaderMap, body: &serde_json::Value) -> Result<Option<RequestKey>, Problem> {
    let Some(key) = headers.get("Idempotency-Key") else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
    let Some(key) = key else {
        let detail = "an Idempotency-Key has 1 to 255 printable ASCII characters";
        return Err(Problem::bad_request("bad_idempotency_key", detail));
    };
    let request_sha256 = hex(&Sha256::digest(body.to_string()));
    Ok(Some(RequestKey { key: key.to_owned(), request_sha256 }))
}

/// Why an export was not accepted, as a problem.
fn refused(error: RequestError) -> Problem {
    match error {
        RequestError::Database(error) => error.into(),
        RequestError::Source(error) => error.into(),
        RequestError::Io(error) => Problem::io("accepting an export", &error),
        RequestError::KeyReused => Problem::invalid("idempotency_key_reused", error.to_string(), Vec::new()),
        RequestError::Invalid(errors) => {
            Problem::invalid("invalid_spec", "the spec has mistakes; nothing was stored", errors)
        }
        RequestError::TooLarge => Problem::too_large(error.to_string()),
        RequestError::Limit(reached) => reached.into(),
        RequestError::Storage(error) => error.into(),
        RequestError::StillEnding => Problem::conflict("still_ending", error.to_string())
            .header(header::RETRY_AFTER, HeaderValue::from_static("1")),
        error => Problem::internal("accepting an export", error),
    }
}

/// Lists the tenant's exports, newest first, without their `spec`.
#[utoipa::path(tag = "exports", params(ExportQuery, PageQuery), responses((status = 200, description = "a page", body = Listing<ExportView>), ReadRefusals))]
#[get("/exports")]
pub async fn list_exports(
    viewer: Viewer,
    query: Query<ExportQuery>,
    page: Query<PageQuery>,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    let filter = Filter { kind: query.kind, state: query.state };
    let page = exports::list(&state.db, viewer.tenant, filter, &page.request()?).await?;
    let latest = latest(&state, &page.items).await?;
    Ok(HttpResponse::Ok().json(Listing::from(page.map(|export| ExportView::live(export, &latest)))))
}

/// Reads an export.
#[utoipa::path(tag = "exports", params(("id" = ExportId, Path)), responses((status = 200, description = "the export", body = ExportView), ReadRefusals))]
#[get("/exports/{id}")]
pub async fn get_export(_: Viewer, export: Row<Export>, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let Row(export) = export;
    Ok(HttpResponse::Ok().json(ExportView::with_spec(&state, export).await?))
}

/// Cancels an export; takes effect within one batch.
#[utoipa::path(tag = "exports", params(("id" = ExportId, Path)), responses((status = 200, description = "the export", body = ExportView), WriteRefusals))]
#[post("/exports/{id}/cancel")]
pub async fn cancel_export(editor: Editor, id: Id<ExportId>, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    let export = cancel(&state, editor.tenant, id.0).await?;
    Ok(HttpResponse::Ok().json(ExportView::with_spec(&state, export).await?))
}

/// Cancels a tenant's export.
pub(super) async fn cancel(state: &State, tenant: TenantId, id: ExportId) -> Result<Export, Problem> {
    match state.node.exports.cancel(tenant, id).await.map_err(refused)? {
        Cancelled::Now(export) => Ok(*export),
        // Asking twice is no mistake.
        Cancelled::Before(export) if export.state == ExportState::Cancelled => Ok(*export),
        Cancelled::Before(export) => {
            Err(Problem::conflict("finished", format!("the export has ended already: {}", export.state)))
        }
        Cancelled::NotFound => Err(Problem::not_found("export")),
    }
}

/// Begins a new attempt of an export that failed or was cancelled. Segments that a failed one had finished are kept.
#[utoipa::path(tag = "exports", params(("id" = ExportId, Path)), responses((status = 202, description = "the export, in state `queued`", body = ExportView), WriteRefusals))]
#[post("/exports/{id}/retry")]
pub async fn retry_export(editor: Editor, id: Id<ExportId>, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    match state.node.exports.retry(editor.tenant, id.0).await.map_err(refused)? {
        Retried::Now(export) => Ok(HttpResponse::Accepted().json(ExportView::with_spec(&state, *export).await?)),
        Retried::Not(export) => {
            let state = export.state;
            let detail = format!("the export is {state}; only one that failed or was cancelled can be tried again");
            Err(Problem::conflict("not_retryable", detail))
        }
        Retried::NotFound => Err(Problem::not_found("export")),
    }
}

/// Deletes an export with its result, detections and links; one that runs is cancelled first.
#[utoipa::path(tag = "exports", params(("id" = ExportId, Path)), responses((status = 204, description = "gone"), WriteRefusals))]
#[delete("/exports/{id}")]
pub async fn delete_export(editor: Editor, id: Id<ExportId>, state: web::Data<State>) -> Result<HttpResponse, Problem> {
    if !state.node.exports.delete(editor.tenant, id.0).await.map_err(refused)? {
        return Err(Problem::not_found("export"));
    }
    Ok(HttpResponse::NoContent().finish())
}

/// Sends the result: an MP4, or the JSON of a detection export.
#[utoipa::path(
    tag = "exports",
    params(("id" = ExportId, Path)),
    responses(
        FileAnswers,
        (status = 304, description = "the client has it already"),
        (status = 409, description = "the export is not complete"),
        (status = 416, description = "the range lies outside the file"),
        ReadRefusals
    )
)]
#[route("/exports/{id}/file", method = "GET", method = "HEAD")]
pub async fn download_export(
    _: Viewer,
    export: Row<Export>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    stored_file(&state, &export.0, true)?.answer(&request).await
}

/// Reads what was detected during an export, in output pixels. Never starts inference.
#[utoipa::path(
    tag = "exports",
    params(("id" = ExportId, Path), DetectionsQuery),
    responses(
        (status = 200, description = "the stored detections", body = Detections, headers(("ETag" = String))),
        (status = 304, description = "the client has them already"),
        ReadRefusals
    )
)]
#[get("/exports/{id}/detections")]
pub async fn read_export_detections(
    viewer: Viewer,
    id: Id<ExportId>,
    query: Query<DetectionsQuery>,
    request: HttpRequest,
    state: web::Data<State>,
) -> Result<HttpResponse, Problem> {
    read_detections(&state, &viewer, Subject::Export(id.0), query.into_inner(), &request).await
}

/// An export's result, to be sent.
pub(super) fn stored_file(state: &State, export: &Export, download: bool) -> Result<StoredFile, Problem> {
    let Some(path) = state.node.exports.result_path(export) else {
        return Err(Problem::conflict(
            "not_complete",
            format!("the export is {}; its file comes when it is complete", export.state),
        ));
    };
    let kind = export.kind.0;
    // The tag covers the bytes; where there is none, the key names the attempt that made them.
    let tag = export.result_etag.clone().unwrap_or_else(|| format!("{}-{}", export.id, export.attempt));
    Ok(StoredFile {
        path,
        etag: strong_tag(&tag),
        content_type: kind.media_type(),
        name: format!("{kind}-{}.{}", export.id, kind.extension()),
        download,
    })
}
