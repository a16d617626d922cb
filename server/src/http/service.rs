//! What operators and tools ask: is it alive, is it ready, how is it doing, what can it do.

use std::sync::Arc;

use actix_web::http::header::{self, ContentEncoding};
use actix_web::{HttpRequest, HttpResponse, get, web};
use actors::node::Readiness;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use utoipa::openapi::OpenApi;
use utoipa_actix_web::service_config::ServiceConfig;
use utoipa_swagger_ui::Config;

use super::metrics::measure;
use super::problem::Problem;
use super::refusals::ReadRefusals;
use super::state::State;

/// Adds the routes below the prefix of the API.
pub fn api_routes(api: &mut ServiceConfig) {
    api.service(openapi_json);
}

/// Adds the routes of this module.
pub fn routes(api: &mut ServiceConfig) {
    api.service(healthz).service(readyz).service(metrics).service(docs);
    api.route("/docs/{file}", web::get().to(docs_asset));
}

/// The documentation page: loads Swagger UI from [`docs_asset`].
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
    if let Err(error) = measure(&state).await {
        // What is counted as it happens is shown all the same.
        tracing::error!(%error, "measuring the metrics failed");
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
    // Compared by their sums, so that the time it takes reveals nothing.
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

/// The API as a page: Swagger UI over the OpenAPI document.
#[utoipa::path(tag = "service", security(()), responses((status = 200, description = "HTML", body = String, content_type = "text/html")))]
#[get("/docs")]
pub async fn docs() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; connect-src 'self'; img-src 'self' data:; script-src 'self'; style-src 'self'; \
             frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        ))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(DOCS)
}

/// A script or style sheet of Swagger UI. All of them are in the program; none is requested from another host. Not in
/// the OpenAPI document: it belongs to the page, not to the API.
pub async fn docs_asset(file: web::Path<String>) -> Result<HttpResponse, Problem> {
    // Addresses relative to the page, which may be served under a prefix. The validator is a service of another host.
    let config = Config::new(["api/v1/openapi.json"]).use_base_layout().validator_url("none");
    let asset = utoipa_swagger_ui::serve(&file, Arc::new(config))
        .map_err(|error| Problem::internal("configuring the documentation page", error))?
        .ok_or_else(|| Problem::not_found("path"))?;
    let mut response = HttpResponse::Ok();
    if asset.gzpipped {
        response.insert_header(ContentEncoding::Gzip);
    }
    response.content_type(asset.content_type).insert_header((header::CACHE_CONTROL, "max-age=3600"));
    Ok(response.body(asset.bytes.into_owned()))
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::test::{TestRequest, call_and_read_body, call_service, init_service};
    use actix_web::{App, ResponseError};

    use super::*;

    #[actix_web::test]
    async fn the_documentation_page_needs_no_other_host() {
        let app = init_service(App::new().service(docs).route("/docs/{file}", web::get().to(docs_asset))).await;
        let page = call_and_read_body(&app, TestRequest::get().uri("/docs").to_request()).await;
        let page = String::from_utf8(page.to_vec()).unwrap();
        assert!(!page.contains("://"), "{page}");
        let files: Vec<_> = page.split('"').filter_map(|text| text.strip_prefix("docs/")).collect();
        assert_eq!(files.len(), 6, "{page}");
        for file in files {
            let response = call_service(&app, TestRequest::get().uri(&format!("/docs/{file}")).to_request()).await;
            assert_eq!(response.status(), StatusCode::OK, "{file}");
            // Scripts and styles are refused by browsers under `nosniff` unless the type says what they are.
            let content_type = response.headers().get(header::CONTENT_TYPE).unwrap().to_str().unwrap();
            let expected = match file.rsplit('.').next().unwrap() {
                "js" => "text/javascript",
                "css" => "text/css",
                _ => "image/png",
            };
            assert_eq!(content_type, expected, "{file}");
        }
        let missing = docs_asset(web::Path::from("other.js".to_owned())).await;
        assert!(missing.is_err_and(|problem| problem.status_code() == StatusCode::NOT_FOUND));
    }

    #[actix_web::test]
    async fn the_documentation_page_reads_our_document() {
        let app = init_service(App::new().route("/docs/{file}", web::get().to(docs_asset))).await;
        let script = TestRequest::get().uri("/docs/swagger-initializer.js").to_request();
        let script = String::from_utf8(call_and_read_body(&app, script).await.to_vec()).unwrap();
        assert!(script.contains(r#""url": "api/v1/openapi.json""#), "{script}");
        assert!(script.contains(r#""validatorUrl": "none""#) && script.contains("BaseLayout"), "{script}");
    }

    #[test]
    fn a_tenants_figures_are_left_out_and_nothing_else_is() {
        let text = "# TYPE a gauge\na{tenant=\"x\"} 1\na{pool=\"y\",tenant=\"x\"} 2\nb 3\n";
        assert_eq!(without_tenants(text), "# TYPE a gauge\nb 3\n");
    }
}
