//! What operators and tools ask: is it alive, is it ready, how is it doing, what can it do.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, get, web};
use actors::node::Readiness;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use utoipa::openapi::OpenApi;
use utoipa_actix_web::service_config::ServiceConfig;

use super::metrics::look_up;
use super::refusals::ReadRefusals;
use super::state::State;

/// Adds the routes below the prefix of the API.
pub fn api_routes(api: &mut ServiceConfig) {
    api.service(openapi_json);
}

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(healthz).service(readyz).service(metrics).service(docs);
}

/// The documentation page: one file, no downloads.
const DOCS: &str = include_str!("docs.html");

/// The OpenAPI document, ready to be sent.
pub struct Document(Bytes);

impl Document {
    /// The bytes of `api`.
    ///
    /// # Errors
    /// When it cannot be written, which is a fault of the program.
    pub fn new(api: &OpenApi) -> serde_json::Result<Self> {
        Ok(Self(api.to_json()?.into()))
    }
}

/// Answers as long as the process serves requests.
#[utoipa::path(tag = "service", security(()), responses((status = 200, description = "alive", body = String)))]
#[get("/healthz")]
pub async fn healthz() -> &'static str {
    "ok"
}

/// Answers 200 only when the database answers, every device has loaded, warmed and checked its models or failed to, and
/// at least one serves; `degraded` names the others.
#[utoipa::path(
    tag = "service",
    security(()),
    responses((status = 200, description = "ready", body = Readiness), (status = 503, description = "not yet, or not any more", body = Readiness))
)]
#[get("/readyz")]
pub async fn readyz(state: web::Data<State>) -> HttpResponse {
    let mut readiness: Readiness = state.node.readiness();
    if let Err(error) = state.db.ping().await {
        tracing::error!(%error, "the database does not answer");
        readiness.ready = false;
    }
    if readiness.ready {
        HttpResponse::Ok().json(readiness)
    } else {
        HttpResponse::ServiceUnavailable().json(readiness)
    }
}

/// Metrics in the Prometheus text format. The figures of single tenants are shown to who sends the configured
/// `server.metrics_token` as a bearer token.
#[utoipa::path(tag = "service", security(()), responses((status = 200, description = "text format 0.0.4", body = String)))]
#[get("/metrics")]
pub async fn metrics(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    if let Err(error) = look_up(&state).await {
        // What is counted as it happens is told all the same.
        tracing::error!(%error, "looking up figures failed");
    }
    HttpResponse::Ok().insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")).body(
        if shows_tenants(&request, &state) { state.metrics.render() } else { without_tenants(&state.metrics.render()) },
    )
}

/// Whether a scraper may see who the tenants are and how they do.
fn shows_tenants(request: &HttpRequest, state: &State) -> bool {
    let token = state.node.settings().server.metrics_token.expose();
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|value| value.strip_prefix("Bearer "));
    // Compared by their sums, so that how long it takes tells nothing.
    token.zip(shown).is_some_and(|(token, shown)| Sha256::digest(token) == Sha256::digest(shown))
}

/// Leaves out what is labelled with a tenant.
fn without_tenants(text: &str) -> String {
    let of_all = text.lines().filter(|line| line.starts_with('#') || !line.contains("tenant=\""));
    of_all.flat_map(|line| [line, "\n"]).collect()
}

/// This document.
#[utoipa::path(tag = "service", security(()), responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value), ReadRefusals))]
#[get("/openapi.json")]
pub async fn openapi_json(document: web::Data<Document>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(document.0.clone())
}

/// A page that lists the operations of the OpenAPI document.
#[utoipa::path(tag = "service", security(()), responses((status = 200, description = "HTML", body = String, content_type = "text/html")))]
#[get("/docs")]
pub async fn docs() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(DOCS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_figures_are_left_out_and_nothing_else_is() {
        let text = "# TYPE a gauge\na{tenant=\"x\"} 1\na{pool=\"y\",tenant=\"x\"} 2\nb 3\n";
        assert_eq!(without_tenants(text), "# TYPE a gauge\nb 3\n");
    }
}
